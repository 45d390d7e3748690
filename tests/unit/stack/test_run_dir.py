"""The run directory: one launcher at a time, and never the files of others."""

from pathlib import Path

import pytest

from stack import credentials
from stack.errors import StackError
from stack.run_dir import RunDir, read_json, write_json
from stack.services import SERVICES


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    made = RunDir(tmp_path / "my stack")
    made.create()
    return made


def test_only_one_launcher_owns_it(run_dir: RunDir) -> None:
    with run_dir.lock():
        holder = run_dir.holder()
        with pytest.raises(StackError, match=rf"already running here \(pid {holder}, .*make stop"):
            run_dir.lock()

    assert holder
    assert run_dir.holder() is None
    run_dir.lock().close()


def test_nobody_holds_what_does_not_exist(tmp_path: Path) -> None:
    assert RunDir(tmp_path / "nothing").holder() is None


def test_a_folder_with_other_files_is_refused_and_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all my work")
    foreign = RunDir(tmp_path)

    with pytest.raises(StackError, match="holds other files"):
        foreign.create()
    with pytest.raises(StackError, match="was not made by this program"):
        foreign.remove()
    assert (tmp_path / "thesis.txt").exists()


def test_remove_takes_what_lies_elsewhere(run_dir: RunDir, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run_dir.postgres_home_file.write_text(f"{elsewhere}\n")

    run_dir.remove()

    assert not elsewhere.exists()
    assert not run_dir.path.exists()
    run_dir.remove()


class TestCredentials:
    def test_made_once_private_and_long(self, run_dir: RunDir) -> None:
        made = credentials.load(run_dir)

        assert credentials.load(run_dir) == made
        assert run_dir.secrets_file.stat().st_mode & 0o777 == 0o600
        assert len(made.secret_key) >= 32
        assert len({made.postgres, *made.roles.values(), made.valkey}) == len(SERVICES) + 2

    def test_those_of_the_environment_win_and_are_not_kept(self, run_dir: RunDir) -> None:
        stored = credentials.load(run_dir)

        assert credentials.load(run_dir, {"SECRET_KEY": "k" * 40}).secret_key == "k" * 40
        assert credentials.load(run_dir) == stored

    def test_a_broken_file_is_made_anew(self, run_dir: RunDir) -> None:
        run_dir.secrets_file.write_text("{")

        assert len(credentials.load(run_dir).secret_key) >= 32


def test_json_files_are_private_and_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "state.json", {"a": 1})

    assert read_json(tmp_path / "state.json") == {"a": 1}
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]
