"""What a process wrote: one file each, bounded, with the run before kept beside it."""

from contextlib import suppress
from pathlib import Path

__all__ = ["LogFile", "tail"]

LARGEST = 20 * 1024 * 1024


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
        # Unbuffered: who follows the file, or reads it after a crash, misses nothing.
        self._file = self._path.open("wb", buffering=0)
        self._size = 0


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a log, fewer if there are fewer."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 400 * lines))
            return file.read().decode("utf-8", "replace").splitlines()[-lines:] if lines else []
    except OSError:
        return []
