"""Shows the log files as they grow."""

import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from stack.console import painted_prefix
from stack.errors import StackError
from stack.logfile import tail
from stack.rundir import RunDir

__all__ = ["follow"]

HISTORY = 10


def follow(run_dir: RunDir, names: Iterable[str]) -> None:
    """Print the last lines of every log whose name starts with one of `names`, then what is added, until
    Ctrl-C or the end of the stack."""
    wanted = tuple(names)
    positions: dict[Path, tuple[int, int]] = {}
    for file in _files(run_dir, wanted):
        _print(file, tail(file, HISTORY))
        positions[file] = (file.stat().st_ino, file.stat().st_size)
    if not positions:
        raise StackError(f"there are no such logs in {run_dir.logs}")
    while run_dir.holder():
        for file in _files(run_dir, wanted):
            positions[file] = _print_new(file, *positions.get(file, (0, 0)))
        sys.stdout.flush()
        time.sleep(0.2)


def _files(run_dir: RunDir, names: tuple[str, ...]) -> list[Path]:
    files = sorted(run_dir.logs.glob("*.log"))
    return [file for file in files if not names or re.sub(r"\.log$", "", file.name).startswith(names)]


def _print_new(file: Path, inode: int, position: int) -> tuple[int, int]:
    """Print whole new lines; a fresh file under the name is read from its beginning."""
    with file.open("rb") as opened:
        current = file.stat().st_ino
        size = opened.seek(0, 2)
        opened.seek(position if current == inode and size >= position else 0)
        data = opened.read()
        whole = data.rfind(b"\n") + 1
        if whole:
            _print(file, data[:whole].decode("utf-8", "replace").splitlines())
        return current, opened.tell() - len(data) + whole


def _print(file: Path, lines: list[str]) -> None:
    prefix = painted_prefix(file.name.removesuffix(".log"), sys.stdout.isatty())
    for line in lines:
        print(prefix + line)
