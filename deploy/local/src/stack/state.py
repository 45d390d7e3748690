"""What a running stack tells others: stack.json when all is ready, pids.json at once, env.json for `exec`."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import psutil

from stack.files import read_json, write_json
from stack.plan import Plan
from stack.process import Process
from stack.rundir import RunDir
from stack.schema import SERVICES

__all__ = ["forget", "read_stack", "write_environments", "write_pids", "write_stack"]


def write_pids(run_dir: RunDir, processes: Iterable[Process]) -> None:
    """Who runs, for the next start to find should this one be killed."""
    entries = [{"name": process.spec.name, "pid": process.pid, "url": process.spec.url} for process in processes]
    write_json(run_dir.pids_file, [entry | {"created": _created(entry["pid"])} for entry in entries])


def write_stack(run_dir: RunDir, plan: Plan, processes: Sequence[Process]) -> None:
    """The addresses of a stack that is ready; tests, benchmarks and `exec` read it."""
    specs = [
        {"name": it.spec.name, "pid": it.pid, "url": it.spec.url, "metrics_url": it.spec.metrics_url}
        for it in processes
    ]
    stack = {
        "gateway_url": plan.gateway_url,
        "database_url": plan.postgres.url(),
        "redis_url": plan.redis_url,
        "launcher_pid": os.getpid(),
        "processes": specs,
    }
    write_json(run_dir.stack_file, stack)


def write_environments(run_dir: RunDir, plan: Plan) -> None:
    write_json(run_dir.env_file, {service: plan.environment(service) for service in SERVICES})


def read_stack(run_dir: RunDir) -> dict[str, Any] | None:
    """The content of stack.json, or None when nothing is ready."""
    stack: dict[str, Any] | None = read_json(run_dir.stack_file)
    return stack


def forget(run_dir: RunDir) -> None:
    """Nothing runs any more."""
    for file in (run_dir.stack_file, run_dir.pids_file, run_dir.env_file):
        file.unlink(missing_ok=True)


def _created(pid: object) -> float | None:
    try:
        return psutil.Process(pid).create_time() if isinstance(pid, int) else None
    except psutil.NoSuchProcess:
        return None
