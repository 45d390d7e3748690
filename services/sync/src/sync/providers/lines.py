"""Records of a file that arrives in pieces: lines of JSON, or of CSV whose quoted fields may hold line ends.

No more than one record and one piece are in memory, and a record has a size.
"""

import csv
from collections.abc import Iterator
from typing import Any, NamedTuple

from sync.providers.base import ProviderAnswerInvalid
from sync.providers.bodies import parse

__all__ = ["MAX_RECORD", "Broken", "CSVRecords", "JSONLines"]

MAX_RECORD = 1_000_000
MAX_COLUMNS = 1_000


class Broken(NamedTuple):
    """A record that cannot be read: why, and how it begins."""

    reason: str
    beginning: str


class _Lines:
    """Cuts what arrives at its line ends. A line that is too long is skipped, and counts as one."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._skipping = False

    def feed(self, piece: bytes) -> Iterator[bytes | Broken]:
        lines = piece.split(b"\n")
        for line in lines[:-1]:
            yield self._whole(line)
        self._keep(lines[-1])

    def finish(self) -> bytes | Broken | None:
        """The last line, if it has no end."""
        return self._whole(b"") if self._rest or self._skipping else None

    def _keep(self, part: bytes) -> None:
        if len(self._rest) + len(part) > MAX_RECORD:
            self._skipping = True
            part = part[: max(MAX_RECORD - len(self._rest), 0)]
        self._rest += part

    def _whole(self, line: bytes) -> bytes | Broken:
        self._keep(line)
        found, self._rest, skipped = bytes(self._rest), bytearray(), self._skipping
        self._skipping = False
        return Broken(f"record: must have at most {MAX_RECORD} bytes", _shown(found)) if skipped else found


class JSONLines:
    """NDJSON: an object a line; blank lines are nothing."""

    def __init__(self) -> None:
        self._lines = _Lines()

    def feed(self, piece: bytes) -> Iterator[Any]:
        for line in self._lines.feed(piece):
            yield from self._read(line)

    def finish(self) -> Iterator[Any]:
        last = self._lines.finish()
        for found in self._read(last) if last is not None else ():
            if isinstance(found, Broken):
                raise ProviderAnswerInvalid("The file ends in the middle of a record: it is cut off.")
            yield found

    def _read(self, line: bytes | Broken) -> Iterator[Any]:
        if isinstance(line, Broken):
            yield line
        elif line.strip():
            try:
                yield parse(line)
            except ProviderAnswerInvalid:
                yield Broken("record: is not JSON", _shown(line))


class CSVRecords:
    """CSV with a header (RFC 4180): objects of texts, in which an empty field is null."""

    def __init__(self, delimiter: str, encoding: str) -> None:
        self._lines = _Lines()
        self._delimiter = delimiter
        self._encoding = encoding
        self._header: list[str] | None = None
        self._record: list[str] = []
        self._size = 0
        self._quoted = False

    def feed(self, piece: bytes) -> Iterator[Any]:
        for line in self._lines.feed(piece):
            yield from self._line(line)

    def finish(self) -> Iterator[Any]:
        last = self._lines.finish()
        if last is not None:
            yield from self._line(last)
        if self._quoted:
            raise ProviderAnswerInvalid("The file ends in the middle of a quoted field: it is cut off.")
        if self._header is None:
            raise ProviderAnswerInvalid("The file has no header.")

    def _line(self, line: bytes | Broken) -> Iterator[Any]:
        if isinstance(line, Broken):
            self._record, self._size, self._quoted = [], 0, False
            yield line
            return
        try:
            text = line.decode(self._encoding)
        except UnicodeDecodeError:
            yield Broken(f"record: is not {self._encoding}", _shown(line))
            return
        if self._header is None:
            text = text.removeprefix("\ufeff")
        self._record.append(f"{text}\n")
        self._size += len(text) + 1
        self._quoted = _ends_quoted(text, self._quoted, self._delimiter)
        if self._size > MAX_RECORD:
            raise ProviderAnswerInvalid(
                f"A record has more than {MAX_RECORD} characters: check the quotes of the file."
            )
        if not self._quoted:
            record, self._record, self._size = self._record, [], 0
            yield from self._whole(record)

    def _whole(self, lines: list[str]) -> Iterator[Any]:
        text = "".join(lines)
        if not text.strip():
            return
        try:
            fields = next(csv.reader([text.rstrip("\r\n")] if len(lines) == 1 else lines, delimiter=self._delimiter))
        except csv.Error:
            yield Broken("record: is not CSV", text[:120])
            return
        if self._header is None:
            self._header = _header(fields)
        elif len(fields) != len(self._header):
            yield Broken(f"record: must have {len(self._header)} fields, as the header has", text[:120])
        else:
            yield {name: value or None for name, value in zip(self._header, fields, strict=True)}


def _header(fields: list[str]) -> list[str]:
    names = [field.strip() for field in fields]
    if len(set(names)) != len(names) or "" in names or len(names) > MAX_COLUMNS:
        raise ProviderAnswerInvalid(
            f"The header must have up to {MAX_COLUMNS} names, each of them once: check the file."
        )
    return names


def _ends_quoted(line: str, quoted: bool, delimiter: str) -> bool:
    """Whether the line ends within a quoted field, if it begins within one or not; looks at each character once."""
    at, fresh = 0, not quoted
    while True:
        if fresh and line.startswith('"', at):
            quoted, at = True, at + 1
        if quoted:
            end = line.find('"', at)
            if end < 0:
                return True
            if line.startswith('"', end + 1):
                at, fresh = end + 2, False
                continue
            quoted, at = False, end + 1
        at = line.find(delimiter, at) + 1
        if not at:
            return False
        fresh = True


def _shown(line: bytes) -> str:
    return line[:120].decode("utf-8", "replace")
