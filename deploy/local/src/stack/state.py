"""What a running stack writes down for others: pids.json at once, env.json for `exec`, stack.json when it is ready."""

import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import psutil

from stack.plan import Plan
from stack.process import SupervisedProcess
from stack.run_dir import RunDir, read_json, write_json
from stack.services import SERVICES

__all__ = ["clear", "read_pids", "read_stack", "stop_orphans", "write_environments", "write_pids", "write_stack"]

GRACE = 5.0


def write_pids(run_dir: RunDir, processes: Iterable[SupervisedProcess]) -> None:
    """The processes, which the next start stops if the launcher is killed."""
    entries = [
        {"name": it.spec.name, "pid": it.pid, "url": it.spec.url, "created": _created(it.pid)} for it in processes
    ]
    write_json(run_dir.pids_file, entries)


def read_pids(run_dir: RunDir) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = read_json(run_dir.pids_file) or []
    return entries


def write_stack(run_dir: RunDir, plan: Plan, processes: Sequence[SupervisedProcess]) -> None:
    """The addresses of a stack that is ready; `status`, tests and benchmarks read them."""
    entries = [
        {"name": it.spec.name, "pid": it.pid, "url": it.spec.url, "metrics_url": it.spec.metrics_url}
        for it in processes
    ]
    stack = {
        "gateway_url": plan.gateway_url,
        "database_url": plan.postgres.url(),
        "redis_url": plan.redis_url,
        "launcher_pid": os.getpid(),
        "processes": entries,
    }
    write_json(run_dir.stack_file, stack)


def read_stack(run_dir: RunDir) -> dict[str, Any] | None:
    """The content of stack.json, or None when the stack is not ready."""
    stack: dict[str, Any] | None = read_json(run_dir.stack_file)
    return stack


def write_environments(run_dir: RunDir, plan: Plan) -> None:
    write_json(run_dir.env_file, {service: plan.environment(service) for service in SERVICES})


def clear(run_dir: RunDir) -> None:
    """Nothing runs any more."""
    for file in (run_dir.stack_file, run_dir.pids_file, run_dir.env_file):
        file.unlink(missing_ok=True)


def stop_orphans(run_dir: RunDir) -> None:
    """Stop the processes of a launcher that was killed. Call it with the lock held."""
    orphans = [found for it in read_pids(run_dir) if (found := _same_process(it.get("pid"), it.get("created")))]
    for process in orphans:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
            process.resume()  # a suspended process gets its signals when it continues
    _, alive = psutil.wait_procs(orphans, timeout=GRACE)
    for process in alive:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=GRACE)
    clear(run_dir)


def _same_process(pid: int | None, created: float | None) -> psutil.Process | None:
    """The process that was written down, unless its pid belongs to another one by now."""
    if not pid or not created:
        return None
    try:
        process = psutil.Process(pid)
        return process if abs(process.create_time() - created) < 1 and process.is_running() else None
    except psutil.NoSuchProcess:
        return None


def _created(pid: int | None) -> float | None:
    try:
        return psutil.Process(pid).create_time() if pid else None
    except psutil.NoSuchProcess:
        return None
