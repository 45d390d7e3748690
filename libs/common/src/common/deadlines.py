"""The time that a request may spend waiting for what it depends on, by `common.loop_clock`."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from common import loop_clock

__all__ = ["Deadline", "current_deadline", "paused_deadline", "start_deadline", "time_left"]

# By default a request answers within 1 s even if its dependencies are frozen.
SECONDS, LONGEST_SECONDS = 0.6, 5.0


@dataclass(slots=True)
class Deadline:
    """Waits end `seconds` after the first one began or the dependency last answered, and never after `latest`."""

    seconds: float
    latest: float
    expires: float | None = None

    def time_left(self, last_answered: float) -> float:
        """Seconds that a wait may still take, if the dependency answered last at that time of `loop_clock.now`."""
        now = loop_clock.now()
        if self.expires is None:
            self.expires = now + self.seconds
        return max(0.0, min(max(self.expires, last_answered + self.seconds), self.latest) - now)


_deadline: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def start_deadline(seconds: float = SECONDS, longest: float = LONGEST_SECONDS) -> None:
    """From now, waiting for a silent dependency ends within `seconds`, for a busy one within `longest`."""
    _deadline.set(Deadline(seconds, loop_clock.now() + longest))


def current_deadline() -> Deadline | None:
    """That of the request at hand; None outside a request."""
    return _deadline.get()


def time_left(default: float, last_answered: float = float("-inf")) -> float:
    """Seconds that a wait may still take; `default` outside a request.

    `last_answered` is when the dependency last answered anybody, by `loop_clock.now`: a frozen dependency is given up
    early, one that is only slow under many requests is not.
    """
    deadline = _deadline.get()
    return default if deadline is None else deadline.time_left(last_answered)


@contextmanager
def paused_deadline() -> Iterator[None]:
    """Time spent inside (hashing, a slow client) does not count against the deadline for dependencies."""
    deadline, began = _deadline.get(), loop_clock.now()
    try:
        yield
    finally:
        if deadline is not None:
            paused = loop_clock.now() - began
            deadline.latest += paused
            if deadline.expires is not None:
                deadline.expires += paused
