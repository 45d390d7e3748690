"""What the API reads of sources and runs; what changes them is in `sync.runs`."""

from datetime import datetime
from uuid import UUID

import msgspec

from common.postgres import Postgres
from common.web.compiled import load_statements
from sync.errors import RunNotFound
from sync.runs import RunRow

__all__ = ["SourceRow", "active_run", "get_run", "last_run", "last_success", "list_sources"]


class SourceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A source, and when a run of it last succeeded."""

    name: str
    provider: str
    url: str
    succeeded_at: datetime | None


_STATEMENTS = load_statements("sync")


async def get_run(db: Postgres, run_id: UUID) -> RunRow:
    """Raises RunNotFound."""
    if found := await _STATEMENTS["run"].fetch_as(RunRow, db, run_id=run_id):
        return found[0]
    raise RunNotFound(run_id)


async def active_run(db: Postgres, source: str) -> RunRow | None:
    """The one run of the source that is queued or running."""
    found = await _STATEMENTS["active_run"].fetch_as(RunRow, db, source=source)
    return found[0] if found else None


async def last_run(db: Postgres, source: str) -> RunRow | None:
    """The newest run of the source that has ended."""
    found = await _STATEMENTS["last_run"].fetch_as(RunRow, db, source=source)
    return found[0] if found else None


async def list_sources(db: Postgres) -> list[SourceRow]:
    return await _STATEMENTS["sources"].fetch_as(SourceRow, db)


async def last_success(db: Postgres) -> datetime | None:
    """When a run of any source last succeeded."""
    found: list[tuple[datetime | None]] = await _STATEMENTS["last_success"].fetch(db)
    return found[0][0]
