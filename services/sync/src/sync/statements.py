"""The statements of `sync.history`, in SQLAlchemy Core; `make statements` compiles them into statements.json."""

from typing import Any

import sqlalchemy as sa

from sync.models import Run, Source
from sync.runs import RunRow
from sync.states import ACTIVE, ENDED, RunState

__all__ = ["STATEMENTS"]

_RUNS = sa.select(*(Run.__table__.c[name] for name in RunRow.__struct_fields__))
_SUCCEEDED_AT = sa.select(sa.func.max(Run.finished_at).label("succeeded_at")).where(
    Run.state == sa.literal_column(f"'{RunState.SUCCEEDED}'")
)
_OF_SOURCE = _SUCCEEDED_AT.where(Run.source == Source.name).scalar_subquery().label("succeeded_at")


def _newest_in(states: tuple[RunState, ...]) -> sa.Select[Any]:
    """The newest run of a source in these states."""
    in_states = sa.or_(*(Run.state == sa.literal_column(f"'{state}'") for state in states))
    return _RUNS.where(Run.source == sa.bindparam("source"), in_states).order_by(Run.created_at.desc()).limit(1)


STATEMENTS: dict[str, Any] = {
    "run": _RUNS.where(Run.id == sa.bindparam("run_id")),
    "active_run": _newest_in(ACTIVE),
    "last_run": _newest_in(ENDED),
    "sources": sa.select(Source.name, Source.provider, Source.url, _OF_SOURCE).order_by(Source.name),
    "last_success": _SUCCEEDED_AT,
}
