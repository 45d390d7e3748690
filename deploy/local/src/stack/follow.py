"""Shows the log files as they grow, in the order of time."""

import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from stack.console import foreground, painted_prefix
from stack.errors import StackError
from stack.logfile import tail
from stack.logline import Line, lines_of
from stack.rundir import RunDir

__all__ = ["follow"]

HISTORY = 10


def follow(run_dir: RunDir, names: Iterable[str]) -> None:
    """Print the last lines of every log whose name starts with one of `names`, then what is added, until
    Ctrl-C or the end of the stack."""
    wanted = tuple(names)
    positions: dict[Path, tuple[int, int]] = {}
    history: list[Line] = []
    for file in _files(run_dir, wanted):
        history += lines_of(_name(file), tail(file, HISTORY))
        positions[file] = (file.stat().st_ino, file.stat().st_size)
    if not positions:
        raise StackError(_no_such_logs(run_dir, wanted))
    try:
        with foreground():
            _print(history)
            _follow(run_dir, wanted, positions)
    except KeyboardInterrupt:
        return


def _follow(run_dir: RunDir, wanted: tuple[str, ...], positions: dict[Path, tuple[int, int]]) -> None:
    while run_dir.holder():
        fresh: list[Line] = []
        for file in _files(run_dir, wanted):
            positions[file], added = _new_lines(file, *positions.get(file, (0, 0)))
            fresh += lines_of(_name(file), added)
        _print(fresh)
        time.sleep(0.2)


def _no_such_logs(run_dir: RunDir, wanted: tuple[str, ...]) -> str:
    known = ", ".join(_name(file) for file in _files(run_dir, ()))
    if not known:
        return f"there are no logs in {run_dir.logs} yet; start it with: make run"
    return f"no log begins with {' or '.join(wanted)}; there are: {known}"


def _files(run_dir: RunDir, names: tuple[str, ...]) -> list[Path]:
    files = sorted(run_dir.logs.glob("*.log"))
    return [file for file in files if not names or _name(file).startswith(names)]


def _name(file: Path) -> str:
    return re.sub(r"\.log$", "", file.name)


def _new_lines(file: Path, inode: int, position: int) -> tuple[tuple[int, int], list[str]]:
    """Where to go on, and the whole lines that were added; a fresh file under the name is read from its beginning."""
    with file.open("rb") as opened:
        current = file.stat().st_ino
        size = opened.seek(0, 2)
        opened.seek(position if current == inode and size >= position else 0)
        data = opened.read()
        whole = data.rfind(b"\n") + 1
        added = data[:whole].decode("utf-8", "replace").splitlines()
        return (current, opened.tell() - len(data) + whole), added


def _print(lines: list[Line]) -> None:
    pretty = sys.stdout.isatty()
    for line in sorted(lines, key=lambda line: line.time):
        print(painted_prefix(line.name, pretty) + (line.pretty if pretty else line.text))
    sys.stdout.flush()
