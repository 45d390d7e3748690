"""The time that a request may spend waiting for what it depends on."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["extend_deadline", "paused_deadline", "start_deadline", "time_left"]


@dataclass
class _Deadline:
    """Waits end `seconds` after the first one began or the dependency last answered, and never after `latest`."""

    seconds: float
    latest: float
    expires: float | None = None


_deadline: ContextVar[_Deadline | None] = ContextVar("deadline", default=None)


def start_deadline(seconds: float, longest: float) -> None:
    """From now, waiting for a silent dependency ends within `seconds`, for a busy one within `longest`."""
    _deadline.set(_Deadline(seconds, asyncio.get_running_loop().time() + longest))


def time_left(default: float, last_answered: float = float("-inf")) -> float:
    """Seconds that a wait may still take; `default` outside a request.

    `last_answered` is when the dependency last answered anybody, by the loop's clock: a frozen dependency is given
    up early, one that is only slow under many requests is not.
    """
    if (deadline := _deadline.get()) is None:
        return default
    now = asyncio.get_running_loop().time()
    if deadline.expires is None:
        deadline.expires = now + deadline.seconds
    expires = min(max(deadline.expires, last_answered + deadline.seconds), deadline.latest)
    return max(0.0, expires - now)


def extend_deadline(seconds: float) -> None:
    """Add the time that this process itself was late; the dependency is not to blame for it."""
    if seconds > 0 and (deadline := _deadline.get()) is not None and deadline.expires is not None:
        deadline.expires += seconds


@contextmanager
def paused_deadline() -> Iterator[None]:
    """Time spent inside (hashing, a slow client) does not count against the deadline for dependencies."""
    loop, deadline = asyncio.get_running_loop(), _deadline.get()
    began = loop.time()
    try:
        yield
    finally:
        if deadline is not None:
            deadline.latest += loop.time() - began
            extend_deadline(loop.time() - began)
