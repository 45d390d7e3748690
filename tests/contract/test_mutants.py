"""The guards that `make mutants` removes are where it looks for them."""

import re
import shutil
from pathlib import Path

import pytest

from tests.fixtures.pages import PAGES
from tests.mutants.__main__ import ROOT, choose, remove
from tests.mutants.guards import GUARDS, Guard


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_can_be_removed_and_its_tests_are_there(guard: Guard, tmp_path: Path) -> None:
    (tmp_path / guard.file).parent.mkdir(parents=True)
    shutil.copy(ROOT / guard.file, tmp_path / guard.file)
    remove(guard, tmp_path)
    assert all((ROOT / test).exists() for test in guard.tests.split())


def test_there_are_many_and_each_has_a_name_of_its_own() -> None:
    assert len({guard.name for guard in GUARDS}) == len(GUARDS) >= 60


def test_the_short_form_takes_what_a_commit_touches() -> None:
    chosen = choose([], "HEAD", 10)
    assert len(chosen) == 10


def test_guarantees_name_guards() -> None:
    table = PAGES["docs/guarantees.md"].partition("| guarantee | tests |")[2].partition("\n\n")[0]
    named = [name for cell in re.findall(r"mutants: ([^|]+)\|", table) for name in cell.strip().split("; ")]
    assert len(named) >= 15
    assert set(named) <= {guard.name for guard in GUARDS}
