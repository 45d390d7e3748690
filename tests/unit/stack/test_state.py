"""Orphans of a killed launcher are stopped; another process with the same pid is not."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stack import state
from stack.run_dir import RunDir, write_json

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(SLEEP, start_new_session=True) as process:
        yield process
        process.kill()


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    made = RunDir(tmp_path / "run")
    made.create()
    return made


def _record(run_dir: RunDir, pid: int | None, created: float | None) -> None:
    write_json(run_dir.pids_file, [{"name": "auth", "pid": pid, "url": None, "created": created}])


def test_an_orphan_is_stopped(run_dir: RunDir, sleeper: subprocess.Popen[bytes]) -> None:
    _record(run_dir, sleeper.pid, psutil.Process(sleeper.pid).create_time())

    state.stop_orphans(run_dir)

    assert not psutil.pid_exists(sleeper.pid)
    assert not run_dir.pids_file.exists()


def test_another_process_with_the_same_pid_goes_on(run_dir: RunDir, sleeper: subprocess.Popen[bytes]) -> None:
    _record(run_dir, sleeper.pid, psutil.Process(sleeper.pid).create_time() - 3600)

    state.stop_orphans(run_dir)

    assert sleeper.poll() is None


@pytest.mark.parametrize(("pid", "created"), [(None, None), (1, None), (2**22 + 1, 1.0)])
def test_broken_records_do_no_harm(run_dir: RunDir, pid: int | None, created: float | None) -> None:
    _record(run_dir, pid, created)

    state.stop_orphans(run_dir)

    assert psutil.pid_exists(1)
    assert not run_dir.pids_file.exists()


def test_no_record_at_all(run_dir: RunDir) -> None:
    run_dir.pids_file.write_text("not json")

    state.stop_orphans(run_dir)

    assert not run_dir.pids_file.exists()
