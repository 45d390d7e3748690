"""A clock that stands still while this process is late, so that its own delay is not taken for a frozen server.

A process that gets no CPU, or whose event loop is busy with other work, notices an answer only when it runs again. Time
limits on servers are therefore measured by this clock. It runs as fast as the event loop's own clock as long as the
loop calls back in time.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

__all__ = ["CHECK_SECONDS", "now", "timeout"]

# How often the clock measures how late the loop is: it advances by no more, however long one turn of the loop takes. A
# new connection takes about ten turns.
TICK_SECONDS = 0.02
# How long it goes on measuring after it was last read.
IDLE_SECONDS = 5.0
# How often a wait looks whether it has taken too long.
CHECK_SECONDS = 0.05


class _LoopClock:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._time = loop.time
        self._call_at = loop.call_at
        self._late = 0.0
        self._last_read = 0.0
        self._tick_due = float("inf")

    def now(self) -> float:
        self._last_read = time = self._time()
        if self._tick_due == float("inf"):
            self._start_tick(time)
        # The loop may be late already, although the tick that measures it has not run yet.
        return min(time, self._tick_due) - self._late

    def _start_tick(self, time: float) -> None:
        self._tick_due = time + TICK_SECONDS
        self._call_at(self._tick_due, self._tick)

    def _tick(self) -> None:
        time = self._time()
        self._late += max(0.0, time - self._tick_due)
        if time - self._last_read < IDLE_SECONDS:
            self._start_tick(time)
        else:
            self._tick_due = float("inf")


class _Current(threading.local):
    """The clock of the loop that runs in this thread."""

    loop: asyncio.AbstractEventLoop | None = None
    clock: _LoopClock


_current = _Current()


def now() -> float:
    """Seconds since some fixed time, without those in which the running event loop was late."""
    # A loop that runs is that of this thread. To ask asyncio for it is a system call (getpid) before Python 3.12.
    if _current.loop is None or not _current.loop.is_running():
        _current.loop = asyncio.get_running_loop()
        _current.clock = _LoopClock(_current.loop)
    return _current.clock.now()


@asynccontextmanager
async def timeout(time_left: float | Callable[[], float]) -> AsyncIterator[None]:
    """As asyncio.timeout, by this clock; raises TimeoutError when there is no time left.

    `time_left` is in seconds, or a function that is asked for them again and again.
    """
    loop, began = asyncio.get_running_loop(), now()
    timer: asyncio.TimerHandle

    def check() -> None:
        nonlocal timer
        left = time_left() if callable(time_left) else began + time_left - now()
        if left <= 0:
            limit.reschedule(loop.time())
        else:
            timer = loop.call_later(CHECK_SECONDS, check)

    async with asyncio.timeout(None) as limit:
        timer = loop.call_later(0, check)
        try:
            yield
        finally:
            timer.cancel()
