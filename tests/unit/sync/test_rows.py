"""What SQL and structs know of the tables is what the models say."""

import types
import typing
from typing import Any

import pytest
from sqlalchemy import CheckConstraint

from imports.counts import Counts
from sync.models import Run
from sync.runs import RunRow
from sync.states import ACTIVE, ENDED, RunState, Trigger

COLUMNS = Run.__table__.columns


@pytest.mark.parametrize("name", RunRow.__struct_fields__)
def test_a_field_of_a_row_is_a_column_of_its_type(name: str) -> None:
    column, hint = COLUMNS[name], typing.get_type_hints(RunRow)[name]
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    assert (type(None) in kinds) is column.nullable
    assert issubclass(kinds[0], column.type.python_type)


def test_counts_are_columns() -> None:
    hints = typing.get_type_hints(RunRow)
    assert {hints[name] for name in Counts.__struct_fields__} == {int}


@pytest.mark.parametrize("kind", [RunState, Trigger])
def test_a_text_is_one_of_its_enum(kind: Any) -> None:
    checks = [str(it.sqltext) for it in Run.__table__.constraints if isinstance(it, CheckConstraint)]  # type: ignore[attr-defined]
    quoted = ", ".join(f"'{value}'" for value in kind)
    assert any(check.endswith(f"IN ({quoted})") for check in checks)


def test_a_run_is_active_or_a_plan_or_has_ended() -> None:
    assert {*ACTIVE, RunState.STAGED, *ENDED} == set(RunState)
    assert not {*ACTIVE} & {*ENDED}
