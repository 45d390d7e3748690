"""Lines of the services' logs: when they were written, and how they look on a terminal."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

__all__ = ["Line", "lines_of"]

# PostgreSQL and Valkey write the one and the other.
_TIMES = (
    (re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) UTC"), "%Y-%m-%d %H:%M:%S.%f"),
    (re.compile(r"\d+:\w (\d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3})"), "%d %b %Y %H:%M:%S.%f"),
)
_COLOURS = {"debug": 36, "info": 32, "warn": 33, "warning": 33, "error": 31, "critical": 31, "fatal": 31}
_SHOWN = ("time", "ts", "level", "logger", "message", "msg", "service", "exception")
# A terminal obeys control characters, so they are shown instead.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}


@dataclass(frozen=True)
class Line:
    """One line of the process `name`; `time` in seconds of the epoch."""

    name: str
    time: float
    text: str
    fields: dict[str, Any] | None

    @property
    def pretty(self) -> str:
        """`12:00:00 INFO    what happened key=value`, from JSON; other lines as they are."""
        if self.fields is None:
            return self.text.translate(_CONTROLS)
        known = self.fields
        level = str(known.get("level", ""))
        more = " ".join(f"{key}={value}" for key, value in known.items() if key not in _SHOWN)
        message = f"{known.get('message', known.get('msg', ''))} {more}".rstrip().replace("\n", "\\n")
        clock = datetime.fromtimestamp(self.time).strftime("%H:%M:%S")
        shown = f"{clock} \x1b[{_COLOURS.get(level, 0)}m{level.upper():<7}\x1b[0m {message.translate(_CONTROLS)}"
        exception = str(known["exception"]).translate(_CONTROLS) if "exception" in known else ""
        return f"{shown}\n{exception}" if exception else shown


def lines_of(name: str, texts: Iterable[str]) -> list[Line]:
    """The lines of one log in their order; one without a time of its own has that of the line before."""
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
        # The gateway's are seconds.
        return float(fields["ts"]) if "ts" in fields else datetime.fromisoformat(str(fields["time"])).timestamp()
    except (KeyError, ValueError, TypeError):
        return None


def _time_of(text: str) -> float | None:
    for pattern, form in _TIMES:
        if found := pattern.match(text):
            return datetime.strptime(found[1], form).replace(tzinfo=UTC).timestamp()
    return None
