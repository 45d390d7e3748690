"""Sources as worker, scheduler and trigger read them, and the one of the environment as they register it.

SQL for psycopg, as in `sync.runs`. What only the API writes is in `sync.source_changes`.
"""

from datetime import datetime
from typing import Any, Literal

import msgspec

from common.postgres import Postgres
from common.urls import without_secrets
from sync.limits import Brake, Limits
from sync.schedule import Schedule
from sync.settings import SyncSettings

__all__ = ["Missing", "SourceRow", "find", "list_all", "register"]

Missing = Literal["keep", "mark", "remove"]


class SourceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of sync.sources. Its fields are the SELECT list."""

    name: str
    label: str | None
    managed_by: Literal["environment", "api", "deleted"]
    provider: str
    url: str
    options: dict[str, Any]
    limits: Limits
    brake: Brake
    enabled: bool
    interval_minutes: int | None
    cron: str | None
    timezone: str
    missing: Missing
    auto_apply: bool
    created_at: datetime
    updated_at: datetime

    @property
    def product_source(self) -> str:
        """The `source` of its products."""
        return self.label or self.name

    @property
    def schedule(self) -> Schedule:
        if self.cron:
            return Schedule(cron=self.cron, timezone=self.timezone)
        return Schedule(interval=self.interval_minutes * 60 if self.interval_minutes else None)

    def is_foreign(self, settings: SyncSettings) -> bool:
        """Whether it is of the environment of other processes than ours: those alone can read it."""
        return self.managed_by == "environment" and self.name != settings.source

    def has_moved(self, settings: SyncSettings) -> bool:
        """Whether our environment has another address for it than the one that its products came from."""
        return self.managed_by == "environment" and (self.name, self.provider, self.url) != settings.origin

    def move_question(self, settings: SyncSettings) -> str:
        """What an admin has to decide once it has moved."""
        return (
            f"Products of {self.name!r} came from {self.provider} at {without_secrets(self.url)}, and the environment "
            f"has {settings.external_api_provider} at {settings.source_url}: POST /sync/sources/{self.name}/move says "
            "whether that is the same shop."
        )


_COLUMNS = ", ".join(SourceRow.__struct_fields__)


async def find(db: Postgres, name: str) -> SourceRow | None:
    found = await db.fetch_as(SourceRow, f"SELECT {_COLUMNS} FROM sync.sources WHERE name = %s", [name])  # noqa: S608
    return found[0] if found else None


async def list_all(db: Postgres, *, deleted: bool = False) -> list[SourceRow]:
    """All sources by name, also those of other processes' environments; those that were deleted only if asked for."""
    query = f"SELECT {_COLUMNS} FROM sync.sources WHERE %s OR managed_by <> 'deleted' ORDER BY name"  # noqa: S608
    return await db.fetch_as(SourceRow, query, [deleted])


# An address that products came from changes by an admin's word alone.
_REGISTER = """
    INSERT INTO sync.sources (name, provider, url, interval_minutes) VALUES (%s, %s, %s, %s)
    ON CONFLICT (name) DO UPDATE SET interval_minutes = excluded.interval_minutes, cron = NULL,
        managed_by = 'environment', updated_at = now(), enabled = sources.enabled OR sources.managed_by = 'deleted',
        (provider, url) = (
            SELECT CASE WHEN count(*) = 0 THEN excluded.provider ELSE sources.provider END,
                CASE WHEN count(*) = 0 THEN excluded.url ELSE sources.url END
            FROM sync.runs WHERE source = sources.name
                AND state IN ('queued', 'running', 'held', 'applying', 'succeeded')
        )
    WHERE sources.managed_by IN ('environment', 'deleted')
    RETURNING name
"""


async def register(db: Postgres, settings: SyncSettings) -> SourceRow:
    """The source of the environment, as it is stored: its interval is the environment's.

    Its provider and address are, too, until products have come from there or while no run is active. After that
    `has_moved` tells that they differ.
    """
    known = await find(db, settings.source)
    if (
        known is None
        or known.managed_by == "deleted"
        or known.has_moved(settings)
        or known.interval_minutes != settings.sync_interval_minutes
    ):
        await db.fetch(_REGISTER, [*settings.origin, settings.sync_interval_minutes])
        known = await find(db, settings.source)
    assert known is not None
    return known
