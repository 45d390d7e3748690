"""What the API reads of sources and runs; what changes them is in `sync.runs`.

SQL for psycopg, as there: without SQLAlchemy the API starts in a third less time.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from common.postgres import Postgres
from sync.errors import RunNotFound
from sync.runs import COLUMNS, RunRow
from sync.states import ACTIVE, ENDED, RunState

__all__ = ["SourceRow", "active_run", "get_run", "last_run", "last_success", "list_sources"]


class SourceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A source, and when a run of it last succeeded."""

    name: str
    provider: str
    url: str
    succeeded_at: datetime | None


async def get_run(db: Postgres, run_id: UUID) -> RunRow:
    """Raises RunNotFound."""
    query = f"SELECT {COLUMNS} FROM sync.runs WHERE id = %s"  # noqa: S608
    if found := await db.fetch_as(RunRow, query, [run_id]):
        return found[0]
    raise RunNotFound(run_id)


async def active_run(db: Postgres, source: str) -> RunRow | None:
    """The one run of the source that is queued or running."""
    return await _newest(db, source, ACTIVE)


async def last_run(db: Postgres, source: str) -> RunRow | None:
    """The newest run of the source that has ended."""
    return await _newest(db, source, ENDED)


async def _newest(db: Postgres, source: str, states: Sequence[RunState]) -> RunRow | None:
    query = f"""
        SELECT {COLUMNS} FROM sync.runs WHERE source = %s AND state = ANY(%s)
        ORDER BY created_at DESC LIMIT 1
    """  # noqa: S608
    found = await db.fetch_as(RunRow, query, [source, [str(state) for state in states]])
    return found[0] if found else None


async def list_sources(db: Postgres) -> list[SourceRow]:
    query = """
        SELECT name, provider, url, (
            SELECT max(finished_at) FROM sync.runs WHERE source = sources.name AND state = 'succeeded'
        ) AS succeeded_at
        FROM sync.sources ORDER BY name
    """
    return await db.fetch_as(SourceRow, query)


async def last_success(db: Postgres) -> datetime | None:
    """When a run of any source last succeeded."""
    found: list[tuple[datetime | None]] = await db.fetch(
        "SELECT max(finished_at) FROM sync.runs WHERE state = 'succeeded'"
    )
    return found[0][0]
