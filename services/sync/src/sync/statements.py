"""The statements of `sync.history` and `sync.source_changes`, in SQLAlchemy Core.

`make statements` compiles them into statements.json.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased

from sync.models import Run, Source
from sync.runs import RunRow
from sync.sources import SourceRow
from sync.states import ACTIVE, ENDED, RunState

__all__ = ["STATEMENTS"]

_RUNS = sa.select(*(Run.__table__.c[name] for name in RunRow.__struct_fields__))
_SUCCEEDED_AT = sa.select(sa.func.max(Run.finished_at).label("succeeded_at")).where(
    Run.state == sa.literal_column(f"'{RunState.SUCCEEDED}'")
)
_OF_SOURCE = _SUCCEEDED_AT.where(Run.source == Source.name).scalar_subquery().label("succeeded_at")


def _each(states: tuple[RunState, ...]) -> sa.Select[Any]:
    """The newest run of each source in these states."""
    in_states = sa.or_(*(Run.state == sa.literal_column(f"'{state}'") for state in states))
    newest = (
        _RUNS.where(Run.source == Source.name, in_states).order_by(Run.created_at.desc()).limit(1).lateral("newest")
    )
    return sa.select(newest).select_from(Source.__table__.join(newest, sa.true()))


def _listed() -> sa.Select[Any]:
    """Runs, the newest first, perhaps of one source, state or trigger, after the one that `after` names."""
    conditions = []
    for column in (Run.source, Run.state, Run.trigger):
        wanted = sa.bindparam(column.key, type_=sa.Text())
        conditions.append(sa.or_(wanted.is_(None), column == wanted))
    last = aliased(Run)
    after = sa.bindparam("after", type_=sa.Uuid())
    place = sa.select(last.created_at, last.id).where(last.id == after).scalar_subquery()
    conditions.append(sa.or_(after.is_(None), sa.tuple_(Run.created_at, Run.id) < place))
    newest_first = _RUNS.where(*conditions).order_by(Run.created_at.desc(), Run.id.desc())
    return newest_first.limit(sa.bindparam("limit", type_=sa.BigInteger()))


_FIELDS = (
    "provider", "url", "options", "limits", "brake", "enabled", "interval_minutes", "cron", "timezone", "missing",
    "auto_apply", "label",
)  # fmt: skip
_ROW = [Source.__table__.c[name] for name in SourceRow.__struct_fields__]
_VALUES = {name: sa.bindparam(name, type_=Source.__table__.c[name].type) for name in _FIELDS}


def _changed_source() -> Any:
    """Not if somebody else has changed it meanwhile."""
    same = sa.and_(Source.name == sa.bindparam("of_source"), Source.updated_at == sa.bindparam("known_at"))
    values = _VALUES | {"updated_at": sa.func.clock_timestamp()}
    return sa.update(Source).where(same).values(values).returning(*_ROW)


def _created_source() -> Any:
    """None if the name is that of a source that was not deleted."""
    values: dict[str, Any] = _VALUES | {"managed_by": sa.literal_column("'api'")}
    created = insert(Source).values(values | {"name": sa.bindparam("name")})
    again = created.on_conflict_do_update(
        index_elements=[Source.name], set_=values, where=Source.managed_by == sa.literal_column("'deleted'")
    )
    return again.returning(*_ROW)


def _deleted_source() -> Any:
    """Not while a run is active."""
    is_active = sa.or_(*(Run.state == sa.literal_column(f"'{state}'") for state in ACTIVE))
    idle = ~sa.exists().where(Run.source == Source.name, is_active)
    changed = {"managed_by": sa.literal_column("'deleted'"), "enabled": sa.false()}
    return (
        sa.update(Source).where(Source.name == sa.bindparam("of_source"), idle).values(changed).returning(Source.name)
    )


STATEMENTS: dict[str, Any] = {
    "run": _RUNS.where(Run.id == sa.bindparam("run_id")),
    "runs": _listed(),
    "active_runs": _each(ACTIVE),
    "last_runs": _each(ENDED),
    "successes": sa.select(Source.name, _OF_SOURCE),
    "last_success": _SUCCEEDED_AT,
    "create_source": _created_source(),
    "change_source": _changed_source(),
    "delete_source": _deleted_source(),
}
