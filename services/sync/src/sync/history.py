"""What the API reads of sources and runs; what changes them is in `sync.runs`."""

from datetime import datetime
from uuid import UUID

import msgspec
import sqlalchemy as sa

from common.postgres import Postgres
from common.web.compiled import CompiledQuery
from sync.errors import RunNotFound
from sync.models import Run, Source
from sync.runs import RunRow
from sync.states import ACTIVE, ENDED, RunState

__all__ = ["SourceRow", "active_run", "get_run", "last_run", "last_success", "list_sources"]


class SourceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A source, and when a run of it last succeeded."""

    name: str
    provider: str
    url: str
    succeeded_at: datetime | None


def _runs_in(states: tuple[RunState, ...]) -> sa.Select[tuple[object, ...]]:
    """The runs of a source in these states, the newest first."""
    in_states = sa.or_(*(Run.state == state for state in states))
    return _RUNS.where(Run.source == sa.bindparam("source"), in_states).order_by(Run.created_at.desc()).limit(1)


_RUNS = sa.select(*(Run.__table__.c[name] for name in RunRow.__struct_fields__))
_SUCCEEDED_AT = sa.select(sa.func.max(Run.finished_at).label("succeeded_at")).where(Run.state == RunState.SUCCEEDED)
_OF_SOURCE = _SUCCEEDED_AT.where(Run.source == Source.name).scalar_subquery().label("succeeded_at")

_GET = CompiledQuery(_RUNS.where(Run.id == sa.bindparam("run_id")))
_ACTIVE, _LAST = CompiledQuery(_runs_in(ACTIVE)), CompiledQuery(_runs_in(ENDED))
_SOURCES = CompiledQuery(sa.select(Source.name, Source.provider, Source.url, _OF_SOURCE).order_by(Source.name))
_LAST_SUCCESS = CompiledQuery(_SUCCEEDED_AT)


async def get_run(db: Postgres, run_id: UUID) -> RunRow:
    """Raises RunNotFound."""
    if found := await _GET.fetch_as(RunRow, db, run_id=run_id):
        return found[0]
    raise RunNotFound(run_id)


async def active_run(db: Postgres, source: str) -> RunRow | None:
    """The one run of the source that is queued or running."""
    found = await _ACTIVE.fetch_as(RunRow, db, source=source)
    return found[0] if found else None


async def last_run(db: Postgres, source: str) -> RunRow | None:
    """The newest run of the source that has ended."""
    found = await _LAST.fetch_as(RunRow, db, source=source)
    return found[0] if found else None


async def list_sources(db: Postgres) -> list[SourceRow]:
    return await _SOURCES.fetch_as(SourceRow, db)


async def last_success(db: Postgres) -> datetime | None:
    """When a run of any source last succeeded."""
    found: list[tuple[datetime | None]] = await _LAST_SUCCESS.fetch(db)
    return found[0][0]
