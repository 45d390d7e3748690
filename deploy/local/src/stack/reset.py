"""Deletes what a stack has on disk, after saying what that is."""

import os
import sys
from pathlib import Path

from stack.bindings import bound_home
from stack.errors import StackError
from stack.rundir import RunDir

__all__ = ["places", "reset"]

NAMES = {"data": "PostgreSQL: accounts, products, runs", "valkey": "Valkey: queue and limits", "logs": "logs"}


def reset(run_dir: RunDir, *, asked: bool) -> None:
    """Delete all data. Without `asked` (YES=1) somebody at a terminal has to agree first."""
    if pid := run_dir.holder():
        raise StackError(f"running (pid {pid}); stop it first with: make stop")
    if not run_dir.path.exists():
        print(f"nothing to delete: {run_dir.path} does not exist")
        return
    print("this deletes for good:")
    for what, place in places(run_dir).items():
        print(f"  {what:<38} {_megabytes(place):>8.1f} MB  {place}")
    if not asked and not _agrees():
        raise StackError("nothing is deleted")
    run_dir.remove()
    print("deleted")


def places(run_dir: RunDir) -> dict[str, Path]:
    """Where the parts of a stack's data are; what is not there is left out."""
    home = bound_home(run_dir) or run_dir.path / "postgres"
    parts = {"data": home / "data", "valkey": run_dir.path / "valkey", "logs": run_dir.logs}
    return {NAMES[name]: place for name, place in parts.items() if place.is_dir()}


def _agrees() -> bool:
    if not sys.stdin.isatty():
        raise StackError("nothing is deleted: there is nobody to ask; if you mean it: YES=1 make reset")
    return input("delete all of it? [y/N] ").strip().lower() in ("y", "yes")


def _megabytes(folder: Path) -> float:
    sizes = (os.lstat(Path(base) / name).st_size for base, _, names in os.walk(folder) for name in names)
    return sum(sizes) / 1_000_000
