"""The tables of schema `sync`."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar
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
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sync.states import ACTIVE, Kind, Mode, RunState, Trigger

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
    type_annotation_map: ClassVar = {
        str: Text,
        int: BigInteger,
        datetime: TIMESTAMP(timezone=True),
        dict[str, Any]: JSONB,
    }


def _is_one_of(column: str, values: Iterable[str]) -> str:
    quoted = (f"'{value}'" for value in values)
    return f"{column} IN ({', '.join(quoted)})"


class Source(Base):
    """What is synced, and how. `fence` is its highest fencing token: each claim of one of its runs raises it.

    The address of the source of the environment is stored without its secrets, since workers have the whole one.
    `label` is the `source` of its products: the name, until another shop took its place. One that was deleted keeps
    its row, since its products are still there.
    """

    __tablename__ = "sources"
    __table_args__ = (
        CheckConstraint("managed_by IN ('environment', 'api', 'deleted')", name="managed_by"),
        CheckConstraint("missing IN ('keep', 'mark', 'remove')", name="missing"),
        UniqueConstraint("label"),
    )

    name: Mapped[str] = mapped_column(primary_key=True)
    provider: Mapped[str]
    url: Mapped[str] = mapped_column(comment="Without credentials and query.")
    fence: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    managed_by: Mapped[str] = mapped_column(server_default=text("'environment'"))
    label: Mapped[str | None]
    options: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    limits: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    brake: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    interval_minutes: Mapped[int | None] = mapped_column(server_default=text("30"))
    cron: Mapped[str | None]
    timezone: Mapped[str] = mapped_column(server_default=text("'UTC'"))
    missing: Mapped[str] = mapped_column(server_default=text("'keep'"))
    auto_apply: Mapped[bool] = mapped_column(server_default=text("true"))
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Run(Base):
    """One pass over a source. The worker that has its `fence`, a fencing token, owns it until `lease_until`.

    `slot` numbers the intervals since 1970, or is the time of a cron expression; it is null for runs that nobody
    scheduled. `pass_id` names what catalog has staged: the run's own id, or that of the run that it goes on from.
    `retry_at` says when a run that failed is followed by another one, and `resumable` that this one goes on from it.
    """

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint(_is_one_of("state", RunState), name="state"),
        CheckConstraint(_is_one_of("trigger", Trigger), name="trigger"),
        CheckConstraint(_is_one_of("mode", Mode), name="mode"),
        CheckConstraint(_is_one_of("kind", Kind), name="kind"),
        UniqueConstraint("source", "slot"),
        Index("runs_one_active_key", "source", unique=True, postgresql_where=text(_is_one_of("state", ACTIVE))),
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
    mode: Mapped[str] = mapped_column(server_default=text("'apply'"))
    kind: Mapped[str] = mapped_column(server_default=text("'sync'"))
    pass_id: Mapped[UUID | None]
    reverts: Mapped[UUID | None]
    approved: Mapped[bool] = mapped_column(server_default=text("false"))
    held_for: Mapped[str | None]
    resumable: Mapped[bool] = mapped_column(server_default=text("false"))
    retry_at: Mapped[datetime | None]
    removed: Mapped[int] = mapped_column(server_default=text("0"))
    pinned: Mapped[int] = mapped_column(server_default=text("0"))
    deleted: Mapped[int] = mapped_column(server_default=text("0"))
    duplicates: Mapped[int] = mapped_column(server_default=text("0"))
    conflicts: Mapped[int] = mapped_column(server_default=text("0"))
