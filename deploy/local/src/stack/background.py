"""Starts and stops a stack that runs without a terminal."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TextIO

import psutil

from stack import leftovers
from stack.errors import StackError
from stack.logfile import tail
from stack.ports import check_free
from stack.rundir import RunDir
from stack.settings import Settings
from stack.state import read_stack

__all__ = ["start", "stop"]

READY_WITHIN = 120.0
STOP_WITHIN = 20.0


def start(settings: Settings) -> None:
    """Return when the stack is ready; it lives on when this process ends."""
    run_dir = RunDir(settings.run_dir)
    run_dir.create()
    with run_dir.lock():  # refuses a second start before the log of the first is overwritten
        leftovers.clear(run_dir)
        if settings.port:
            check_free(settings.port)
    log = run_dir.logs / "launcher.log"
    with log.open("wb") as output:
        launcher = subprocess.Popen(
            [sys.executable, "-m", "stack", "up", "--background"],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    with log.open(encoding="utf-8", errors="replace") as said:

        def ended() -> bool:
            ready = _is_ready(run_dir, launcher.pid)
            if lines := _steps(said):
                print(lines, end="", flush=True)
            return ready or launcher.poll() is not None

        try:
            _wait(ended, READY_WITHIN)
        except KeyboardInterrupt:
            launcher.terminate()
            raise
    if not _is_ready(run_dir, launcher.pid):
        launcher.terminate()
        why = "\n".join(tail(log, 60)).partition("stack: ")[2]
        raise StackError(why or "the stack did not get ready in time")


def stop(settings: Settings) -> None:
    """Return when the launcher of this run directory is gone."""
    run_dir = RunDir(settings.run_dir)
    pid = run_dir.holder()
    if not pid:
        print("not running")
        return
    os.kill(pid, signal.SIGTERM)
    if not _wait(lambda: run_dir.holder() is None and not _lives(pid), STOP_WITHIN):
        raise StackError(f"pid {pid} does not stop; look at {run_dir.logs / 'launcher.log'}")
    print("stopped")


def _steps(said: TextIO) -> str:
    """What the launcher has said since the last time, up to the error that is told at the end."""
    return said.read().partition("stack: ")[0]


def _is_ready(run_dir: RunDir, pid: int) -> bool:
    return (read_stack(run_dir) or {}).get("launcher_pid") == pid


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _wait(condition: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()
