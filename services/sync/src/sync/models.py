"""The tables of schema `sync`."""

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import (
    TIMESTAMP,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    MetaData,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sync.states import ACTIVE, RunState, Trigger

__all__ = ["Base", "Run", "Source"]


class Base(DeclarativeBase):
    metadata = MetaData(
        schema="sync",
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s_check",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        },
    )
    type_annotation_map: ClassVar = {str: Text, int: BigInteger, datetime: TIMESTAMP(timezone=True)}


def _is_one_of(column: str, values: Iterable[str]) -> str:
    quoted = (f"'{value}'" for value in values)
    return f"{column} IN ({', '.join(quoted)})"


class Source(Base):
    """A source that was synced once. `fence` is its highest fencing token: each claim of one of its runs raises it."""

    __tablename__ = "sources"

    name: Mapped[str] = mapped_column(primary_key=True)
    provider: Mapped[str]
    url: Mapped[str] = mapped_column(comment="Without credentials and query.")
    fence: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Run(Base):
    """One pass over a source. The worker that has its `fence`, a fencing token, owns it until `lease_until`.

    `slot` numbers the intervals since 1970; it is null for runs that nobody scheduled.
    """

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint(_is_one_of("state", RunState), name="state"),
        CheckConstraint(_is_one_of("trigger", Trigger), name="trigger"),
        UniqueConstraint("source", "slot"),
        Index("runs_active_key", "source", unique=True, postgresql_where=text(_is_one_of("state", ACTIVE))),
        Index(None, "source", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    source: Mapped[str] = mapped_column(ForeignKey("sync.sources.name"))
    state: Mapped[str] = mapped_column(server_default=text("'queued'"))
    trigger: Mapped[str]
    slot: Mapped[int | None]
    fence: Mapped[int | None]
    attempt: Mapped[int] = mapped_column(server_default=text("0"))
    lease_until: Mapped[datetime | None]
    traceparent: Mapped[str | None]
    fetched: Mapped[int] = mapped_column(server_default=text("0"))
    created: Mapped[int] = mapped_column(server_default=text("0"))
    updated: Mapped[int] = mapped_column(server_default=text("0"))
    unchanged: Mapped[int] = mapped_column(server_default=text("0"))
    rejected: Mapped[int] = mapped_column(server_default=text("0"))
    pages: Mapped[int] = mapped_column(server_default=text("0"))
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
