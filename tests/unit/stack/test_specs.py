"""Accounts: which folders a user may enter, computed from their modes."""

import os
from pathlib import Path

import pytest

from stack.specs import Account
from tests.fixtures.stack import folder

NOBODY = Account(65534, 65534)


MODES = [(0o755, True), (0o711, True), (0o700, False), (0o770, False), (0o744, False)]


@pytest.mark.parametrize(("mode", "reachable"), MODES)
def test_a_parent_that_nobody_else_may_enter(mode: int, reachable: bool) -> None:
    with folder("parent") as parent:
        (parent / "inner").mkdir()
        parent.chmod(mode)

        assert NOBODY.can_reach(parent / "inner") is reachable
        parent.chmod(0o755)
        (parent / "inner").rmdir()


def test_the_owner_may_enter(tmp_path: Path) -> None:
    owner = Account(os.getuid(), os.getgid())
    tmp_path.chmod(0o700)

    assert owner.can_reach(tmp_path)
