"""What the API reads of runs; what changes them is in `sync.runs`, `sync.leases` and `sync.decisions`."""

from datetime import datetime
from uuid import UUID

from common.postgres import Postgres
from common.web.compiled import load_statements
from sync.errors import RunNotFound
from sync.runs import RunRow
from sync.states import RunState, Trigger

__all__ = ["active_runs", "get_run", "last_runs", "last_success", "list_runs", "successes"]

_STATEMENTS = load_statements("sync")


async def get_run(db: Postgres, run_id: UUID) -> RunRow:
    """Raises RunNotFound."""
    if found := await _STATEMENTS["run"].fetch_as(RunRow, db, run_id=run_id):
        return found[0]
    raise RunNotFound(run_id)


async def list_runs(
    db: Postgres,
    *,
    source: str | None = None,
    state: RunState | None = None,
    trigger: Trigger | None = None,
    after: UUID | None = None,
    limit: int,
) -> list[RunRow]:
    """The newest first, those after the run `after`."""
    return await _STATEMENTS["runs"].fetch_as(
        RunRow, db, source=source, state=state, trigger=trigger, after=after, limit=limit
    )


async def active_runs(db: Postgres) -> dict[str, RunRow]:
    """The one run of each source that is queued, running, held or being applied."""
    return {run.source: run for run in await _STATEMENTS["active_runs"].fetch_as(RunRow, db)}


async def last_runs(db: Postgres) -> dict[str, RunRow]:
    """The newest run of each source that has ended."""
    return {run.source: run for run in await _STATEMENTS["last_runs"].fetch_as(RunRow, db)}


async def successes(db: Postgres) -> dict[str, datetime | None]:
    """When a run of each source last succeeded."""
    found: list[tuple[str, datetime | None]] = await _STATEMENTS["successes"].fetch(db)
    return dict(found)


async def last_success(db: Postgres) -> datetime | None:
    """When a run of any source last succeeded."""
    found: list[tuple[datetime | None]] = await _STATEMENTS["last_success"].fetch(db)
    return found[0][0]
