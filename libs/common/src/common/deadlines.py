"""The time that a request may spend waiting for what it depends on, by `common.loop_clock`."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from common import loop_clock

__all__ = ["paused_deadline", "start_deadline", "time_left"]


@dataclass
class _Deadline:
    """Waits end `seconds` after the first one began or the dependency last answered, and never after `latest`."""

    seconds: float
    latest: float
    expires: float | None = None


_deadline: ContextVar[_Deadline | None] = ContextVar("deadline", default=None)


def start_deadline(seconds: float, longest: float) -> None:
    """From now, waiting for a silent dependency ends within `seconds`, for a busy one within `longest`."""
    _deadline.set(_Deadline(seconds, loop_clock.now() + longest))


def time_left(default: float, last_answered: float = float("-inf")) -> float:
    """Seconds that a wait may still take; `default` outside a request.

    `last_answered` is when the dependency last answered anybody, by `loop_clock.now`: a frozen dependency is given up
    early, one that is only slow under many requests is not.
    """
    if (deadline := _deadline.get()) is None:
        return default
    now = loop_clock.now()
    if deadline.expires is None:
        deadline.expires = now + deadline.seconds
    expires = min(max(deadline.expires, last_answered + deadline.seconds), deadline.latest)
    return max(0.0, expires - now)


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
