"""Data folders outside the run directory: found again, and deleted when their run directory is gone."""

import shutil
from pathlib import Path

import pytest

from stack.run_dir import RunDir
from stack.servers.postgres_install import bind_home, bound_home


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
