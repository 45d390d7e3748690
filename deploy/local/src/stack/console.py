"""The terminal: a coloured prefix per process, for a reader that may be slow or gone."""

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

__all__ = ["Console", "foreground", "prefix"]

COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)
WIDTH = 16
LONGEST_QUEUE = 10_000


class Console:
    """Writes in a thread of its own, so that a paused terminal does not pause the supervision.

    Lines are dropped when the reader is far behind; the log files have them all.
    """

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stdout
        self.is_terminal = self._stream.isatty()
        self.colours = self.is_terminal and not os.environ.get("NO_COLOR")
        self._queue: queue.Queue[str | None] = queue.Queue(LONGEST_QUEUE)
        self._shows_output = False
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def show_output(self) -> None:
        """From now on print what processes write."""
        self._shows_output = True

    def line(self, name: str, text: str) -> None:
        """A line of output of the process `name`."""
        if self._shows_output:
            self._put(f"{prefix(name, self.colours)}{text}")

    def say(self, text: str) -> None:
        """Something of the launcher's own."""
        self._put(text)

    def flush(self) -> None:
        """Return when everything is written; wait for at most a second."""
        deadline = time.monotonic() + 1
        while not self._queue.empty() and time.monotonic() < deadline:
            time.sleep(0.005)

    def close(self) -> None:
        """Write what is queued; wait for at most a second."""
        self._put(None)
        self._thread.join(1)

    def _put(self, text: str | None) -> None:
        try:
            self._queue.put_nowait(text)
        except queue.Full:
            return

    def _write(self) -> None:
        while (text := self._queue.get()) is not None:
            try:
                print(text, file=self._stream, flush=self._queue.empty())
            except (OSError, ValueError):  # the reader is gone; go on without one
                self._stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open until the end
                os.dup2(self._stream.fileno(), sys.stdout.fileno())


def prefix(name: str, colours: bool) -> str:
    """`name      | `, with `colours` always in the same one for the same name."""
    if not colours:
        return f"{name:<{WIDTH}}| "
    colour = COLOURS[sum(name.encode()) % len(COLOURS)]
    return f"\x1b[{colour}m{name:<{WIDTH}}|\x1b[0m "


@contextmanager
def foreground() -> Iterator[None]:
    """Inside the block Ctrl-C reaches only this process: `make`, its parent, would report it as an error."""
    # A shell makes its background jobs ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not sys.stdin.isatty() or os.getpgrp() == os.getpid():
        yield
        return
    before = os.getpgrp()
    # A background process is stopped by SIGTTOU when it takes the terminal back, unless it ignores that.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.setpgid(0, 0)
    os.tcsetpgrp(sys.stdin.fileno(), os.getpgrp())
    try:
        yield
    finally:
        os.tcsetpgrp(sys.stdin.fileno(), before)
