"""The log files of a stack: how they are written, and how they are shown as they grow."""

import json
import re
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stack.console import foreground, prefix
from stack.errors import StackError
from stack.run_dir import RunDir

__all__ = ["Line", "LogFile", "parse_lines", "stream", "tail"]

LARGEST = 20 * 1024 * 1024
# Lines of each log that are shown at first.
HISTORY = 10
# PostgreSQL's and Valkey's way to write the time.
_TIMES = (
    (re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) UTC"), "%Y-%m-%d %H:%M:%S.%f"),
    (re.compile(r"\d+:\w (\d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3})"), "%d %b %Y %H:%M:%S.%f"),
)
_COLOURS = {"debug": 36, "info": 32, "warn": 33, "warning": 33, "error": 31, "critical": 31, "fatal": 31}
_SHOWN = ("time", "ts", "level", "logger", "message", "msg", "service", "exception")
# Control characters are escaped, since a terminal obeys them.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}


class LogFile:
    """Appends to `path`; at every start and past 20 MB the content moves to `path.1`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()

    def write(self, data: bytes) -> None:
        # A full disk costs log lines, never the process that wrote them.
        with suppress(OSError):
            if self._size > LARGEST:
                self._file.close()
                self._open()
            self._file.write(data)
            self._size += len(data)

    def close(self) -> None:
        self._file.close()

    def _open(self) -> None:
        if self._path.exists():
            self._path.replace(self._path.with_name(self._path.name + ".1"))
        # Unbuffered, so that readers of the file miss nothing, also after a crash.
        self._file = self._path.open("wb", buffering=0)
        self._size = 0


@dataclass(frozen=True)
class Line:
    """One line of the process `name`; `time` in seconds of the epoch; `fields` if it is a JSON object."""

    name: str
    time: float
    text: str
    fields: dict[str, Any] | None

    @property
    def pretty(self) -> str:
        """`12:00:00 INFO    message key=value`, from JSON; other lines as they are."""
        if self.fields is None:
            return self.text.translate(_CONTROLS)
        level = str(self.fields.get("level", ""))
        more = " ".join(f"{key}={value}" for key, value in self.fields.items() if key not in _SHOWN)
        message = f"{self.fields.get('message', self.fields.get('msg', ''))} {more}".rstrip().replace("\n", "\\n")
        clock = datetime.fromtimestamp(self.time, UTC).astimezone().strftime("%H:%M:%S")
        shown = f"{clock} \x1b[{_COLOURS.get(level, 0)}m{level.upper():<7}\x1b[0m {message.translate(_CONTROLS)}"
        exception = str(self.fields.get("exception", "")).translate(_CONTROLS)
        return f"{shown}\n{exception}" if exception else shown


def parse_lines(name: str, texts: Iterable[str]) -> list[Line]:
    """The lines of one log in their order; a line without a time gets that of the line before."""
    lines, last = [], 0.0
    for text in texts:
        fields = _fields(text)
        last = (_time_in(fields) if fields else _time_of(text)) or last
        lines.append(Line(name, last, text, fields))
    return lines


def _fields(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _time_in(fields: dict[str, Any]) -> float | None:
    try:
        # `ts` is the gateway's, in seconds.
        return float(fields["ts"]) if "ts" in fields else datetime.fromisoformat(str(fields["time"])).timestamp()
    except (KeyError, ValueError, TypeError):
        return None


def _time_of(text: str) -> float | None:
    for pattern, form in _TIMES:
        if found := pattern.match(text):
            return datetime.strptime(found[1], form).replace(tzinfo=UTC).timestamp()
    return None


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a file, fewer if there are fewer."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 400 * lines))
            return file.read().decode("utf-8", "replace").splitlines()[-lines:] if lines else []
    except OSError:
        return []


def stream(run_dir: RunDir, names: Iterable[str]) -> None:
    """Print the last lines of every log whose name starts with one of `names`, then new ones in the order of time,
    until Ctrl-C or the end of the stack."""
    wanted = tuple(names)
    positions: dict[Path, tuple[int, int]] = {}
    history: list[Line] = []
    for file in _files(run_dir, wanted):
        history += parse_lines(file.stem, tail(file, HISTORY))
        positions[file] = (file.stat().st_ino, file.stat().st_size)
    if not positions:
        raise StackError(_no_such_logs(run_dir, wanted))
    try:
        with foreground():
            _print(history)
            while run_dir.holder():
                _print(_new_lines(run_dir, wanted, positions))
                time.sleep(0.2)
    except KeyboardInterrupt:
        return


def _files(run_dir: RunDir, names: tuple[str, ...]) -> list[Path]:
    files = sorted(run_dir.logs.glob("*.log"))
    return [file for file in files if not names or file.stem.startswith(names)]


def _no_such_logs(run_dir: RunDir, wanted: tuple[str, ...]) -> str:
    known = ", ".join(file.stem for file in _files(run_dir, ()))
    if not known:
        return f"there are no logs in {run_dir.logs} yet; start it with: make run"
    return f"no log begins with {' or '.join(wanted)}; there are: {known}"


def _new_lines(run_dir: RunDir, wanted: tuple[str, ...], positions: dict[Path, tuple[int, int]]) -> list[Line]:
    lines: list[Line] = []
    for file in _files(run_dir, wanted):
        positions[file], added = _read_on(file, *positions.get(file, (0, 0)))
        lines += parse_lines(file.stem, added)
    return lines


def _read_on(file: Path, inode: int, position: int) -> tuple[tuple[int, int], list[str]]:
    """Where to read on, and the complete lines from `position`; a new file of the same name is read from its start."""
    with file.open("rb") as opened:
        current = file.stat().st_ino
        size = opened.seek(0, 2)
        opened.seek(position if current == inode and size >= position else 0)
        data = opened.read()
        whole = data.rfind(b"\n") + 1
        return (current, opened.tell() - len(data) + whole), data[:whole].decode("utf-8", "replace").splitlines()


def _print(lines: list[Line]) -> None:
    pretty = sys.stdout.isatty()
    for line in sorted(lines, key=lambda line: line.time):
        print(prefix(line.name, pretty) + (line.pretty if pretty else line.text))
    sys.stdout.flush()
