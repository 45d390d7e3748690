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

__all__ = ["Base", "Import", "ImportReject", "ImportRow", "ImportRun", "Product", "ProductCount", "RunChange"]


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
    that keeps sync from bringing the product back. One that sync itself has made, since its source lacked the product,
    does not: its `removed_at` is equal to `deleted_at`. `missing_since` is set while the source lacks the product and
    the policy is to mark it.
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
    missing_since: Mapped[datetime | None]
    removed_at: Mapped[datetime | None]


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
    """A staged record; the newest row of an external id counts. Emptied of a source when its pass is applied.

    Unlogged, since most passes change nothing and would fill the log with what is there already. When PostgreSQL has
    crashed the table is empty, and a pass that was half staged begins anew.
    """

    __tablename__ = "import_rows"
    __table_args__ = (Index(None, "source", "external_id", "id"), {"prefixes": ["UNLOGGED"]})

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    source: Mapped[str]
    external_id: Mapped[str]


class ImportReject(Base):
    """A record of a source that is not a valid product, with the reason; kept until sync prunes it."""

    __tablename__ = "import_rejects"
    __table_args__ = (Index(None, "source", "run_id"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    source: Mapped[str]
    run_id: Mapped[UUID]
    external_id: Mapped[str | None]
    reason: Mapped[str]
    payload: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    position: Mapped[int | None]


class ImportRun(Base):
    """How far a run has come that is planned or applied, kept as long as its changes.

    Beside `imports`, whose row is the next run's as soon as that begins. `position` is the last row, staged or of
    `run_changes`, of the phase's last piece.
    """

    __tablename__ = "import_runs"

    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    source: Mapped[str]
    phase: Mapped[str]
    missing: Mapped[str] = mapped_column(server_default=text("'keep'"))
    position: Mapped[int] = mapped_column(server_default=text("0"))
    counts: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class RunChange(Base):
    """What a run changes of one product, planned or (with `applied_version`) done.

    `old` and `new` have the fields that change, `skipped` the pinned ones that differ, each with both values. `version`
    is the product's before the change.
    """

    __tablename__ = "run_changes"
    __table_args__ = (Index(None, "run_id", "id"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    source: Mapped[str]
    run_id: Mapped[UUID]
    kind: Mapped[str]
    external_id: Mapped[str]
    product_id: Mapped[int | None]
    version: Mapped[int | None]
    applied_version: Mapped[int | None]
    old: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    new: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    skipped: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
