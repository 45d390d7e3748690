"""The tables of schema `catalog`."""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    TIMESTAMP,
    BigInteger,
    CheckConstraint,
    Identity,
    Index,
    MetaData,
    Numeric,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from imports.product import FIELDS

__all__ = ["Base", "Import", "ImportReject", "ImportRow", "Product", "ProductCount"]


class Base(DeclarativeBase):
    metadata = MetaData(
        schema="catalog",
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s_check",
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        },
    )
    type_annotation_map: ClassVar = {
        str: Text,
        int: BigInteger,
        datetime: TIMESTAMP(timezone=True),
        Decimal: Numeric(12, 2),
        dict[str, Any]: JSONB,
        list[str]: ARRAY(Text),
    }


class FieldColumns:
    """The fields of `imports.product` as columns."""

    name: Mapped[str]
    description: Mapped[str]
    price: Mapped[Decimal]
    currency: Mapped[str]
    category: Mapped[str]
    brand: Mapped[str | None]
    sku: Mapped[str | None]
    stock: Mapped[int | None]
    image_url: Mapped[str | None]
    attributes: Mapped[dict[str, Any]]


assert tuple(FieldColumns.__annotations__) == tuple(FIELDS), "each field of imports.product needs its column here"


class Product(FieldColumns, Base):
    """One product. `source` and `external_id` name its origin, both null for one that was made here.

    `pinned` names the fields that an admin changed and sync leaves alone; a row with `deleted_at` is a tombstone
    that keeps sync from bringing the product back.
    """

    __tablename__ = "products"
    __table_args__ = (
        UniqueConstraint("source", "external_id"),
        CheckConstraint("price >= 0", name="price"),
        CheckConstraint("(source IS NULL) = (external_id IS NULL)", name="origin"),
        Index("products_live_idx", "id", postgresql_where=text("deleted_at IS NULL")),
        Index(
            "products_deleted_idx",
            "deleted_at",
            postgresql_where=text("deleted_at IS NOT NULL AND source IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    attributes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    source: Mapped[str | None]
    external_id: Mapped[str | None]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    synced_at: Mapped[datetime | None]
    pinned: Mapped[list[str]] = mapped_column(server_default=text("'{}'::text[]"))
    deleted_at: Mapped[datetime | None]


class ProductCount(Base):
    """The number of live products, as the sum of `delta`.

    Triggers on `products` add a row for each statement that inserts or deletes rows, and for each row that is marked as
    deleted or restored. So a list's total costs no count of 100 000 rows, and writers do not wait for one counter. One
    in a hundred replaces the rows by their sum.
    """

    __tablename__ = "product_counts"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    delta: Mapped[int]


class Import(Base):
    """How far the current run of a source has come; the fencing token keeps out workers that lost their lease."""

    __tablename__ = "imports"

    source: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[UUID]
    fencing_token: Mapped[int] = mapped_column("fence")
    cursor: Mapped[str | None]
    complete: Mapped[bool] = mapped_column(server_default=text("false"))
    staged: Mapped[int] = mapped_column(server_default=text("0"))
    rejected: Mapped[int] = mapped_column(server_default=text("0"))
    result: Mapped[dict[str, Any] | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ImportRow(FieldColumns, Base):
    """A staged record; the newest row of an external id counts. Emptied by the merge."""

    __tablename__ = "import_rows"
    __table_args__ = (Index(None, "source", "external_id", "id"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    source: Mapped[str]
    external_id: Mapped[str]


class ImportReject(Base):
    """A record of a source that is not a valid product, with the reason; kept until the next run."""

    __tablename__ = "import_rejects"
    __table_args__ = (Index(None, "source", "run_id"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    source: Mapped[str]
    run_id: Mapped[UUID]
    external_id: Mapped[str | None]
    reason: Mapped[str]
    payload: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
