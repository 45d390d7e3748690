"""A table of what runs and what it weighs."""

from typing import Any

import psutil

from stack.errors import StackError
from stack.files import read_json
from stack.reset import places
from stack.rundir import RunDir
from stack.state import read_stack

__all__ = ["NOT_RUNNING", "show"]

NOT_RUNNING = 3
MEGABYTE = 1024 * 1024
ROW = "{:<18} {:>8}  {:<11} {:>7}  {}"


def show(run_dir: RunDir) -> None:
    """Print a line per process; exit code 3 when nothing runs, as init scripts do."""
    launcher = run_dir.holder()
    if not launcher:
        raise StackError("not running; start it with: make run", code=NOT_RUNNING)
    stack = read_stack(run_dir)
    entries: list[dict[str, Any]] = [{"name": "launcher", "pid": launcher, "url": (stack or {}).get("gateway_url")}]
    entries += read_json(run_dir.pids_file) or []
    total = 0.0
    print(ROW.format("process", "pid", "state", "RSS MB", "url"))
    for entry in entries:
        size = _resident(entry["pid"], alone=entry["name"] == "launcher")
        total += size
        state = _state(entry, ready=stack is not None)
        print(ROW.format(entry["name"], entry["pid"] or "-", state, f"{size:.0f}", entry["url"] or ""))
    print(ROW.format("total", "", "ready" if stack else "starting", f"{total:.0f}", ""))
    print(f"\ndata in {run_dir.path}; the passwords in secrets.json and stack.json there are readable by you alone")
    for what, place in places(run_dir).items():
        if not place.is_relative_to(run_dir.path):
            print(f"{what} in {place}")


def _state(entry: dict[str, Any], *, ready: bool) -> str:
    if not entry["pid"] or not psutil.pid_exists(entry["pid"]):
        return "restarting"
    return "running" if ready else "starting"


def _resident(pid: int | None, *, alone: bool) -> float:
    """Megabytes of a process and its children; what the children share with it is counted once."""
    try:
        process = psutil.Process(pid) if pid else None
        if process is None:
            return 0.0
        children = [] if alone else process.children(recursive=True)
        extra = sum(info.rss - getattr(info, "shared", 0) for info in (child.memory_info() for child in children))
        return float(process.memory_info().rss + extra) / MEGABYTE
    except psutil.NoSuchProcess:
        return 0.0
