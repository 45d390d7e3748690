"""Clears what a killed launcher left: its processes, if they are still the same ones."""

import os
import signal
from contextlib import suppress

import psutil

from stack.files import read_json
from stack.rundir import RunDir
from stack.state import forget

__all__ = ["clear"]

GRACE = 5.0


def clear(run_dir: RunDir) -> None:
    """Stop every process of an earlier start that still lives. Call it with the lock held."""
    entries = read_json(run_dir.pids_file) or []
    alive = [found for entry in entries if (found := _same(entry.get("pid"), entry.get("created")))]
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
            process.resume()  # who is frozen must hear it too
    _, stubborn = psutil.wait_procs(alive, timeout=GRACE)
    for process in stubborn:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=GRACE)
    forget(run_dir)


def _same(pid: int | None, created: float | None) -> psutil.Process | None:
    """A pid alone proves nothing: the number may be another process by now."""
    if not pid or not created:
        return None
    try:
        process = psutil.Process(pid)
        return process if abs(process.create_time() - created) < 1 and process.is_running() else None
    except psutil.NoSuchProcess:
        return None
