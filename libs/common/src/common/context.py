"""What belongs to the request at hand: its id and its deadline."""

import asyncio
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["accept_request_id", "extended", "forgive", "patience", "request_id", "start_deadline"]

request_id: ContextVar[str] = ContextVar("request_id", default="-")
_SAFE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}").fullmatch


def accept_request_id(sent: bytes | None) -> str:
    """The client's X-Request-ID where it is safe to log, else a new one."""
    return sent.decode("ascii") if sent and _SAFE_ID(sent) else uuid.uuid4().hex


@dataclass
class _Deadline:
    """Waits end `seconds` after the first one began or the dependency last answered, and never after `longest`."""

    seconds: float
    longest: float
    expires: float | None = None


_deadline: ContextVar[_Deadline | None] = ContextVar("deadline", default=None)


def start_deadline(seconds: float, longest: float) -> None:
    """From now, waiting for a silent dependency ends within `seconds`, for a busy one within `longest`."""
    _deadline.set(_Deadline(seconds, asyncio.get_running_loop().time() + longest))


def patience(default: float, answered: float = float("-inf")) -> float:
    """Seconds that a wait may still take for a dependency that last `answered` then (by the loop's clock).

    So a frozen dependency is given up at once, and one that is merely behind with many requests is not.
    Outside a request it is `default`.
    """
    if (deadline := _deadline.get()) is None:
        return default
    now = asyncio.get_running_loop().time()
    if deadline.expires is None:
        deadline.expires = now + deadline.seconds
    expires = min(max(deadline.expires, answered + deadline.seconds), deadline.longest)
    return max(0.0, expires - now)


def forgive(seconds: float) -> None:
    """This process itself was late by `seconds`; the dependency is not to blame for them."""
    if seconds > 0 and (deadline := _deadline.get()) is not None and deadline.expires is not None:
        deadline.expires += seconds


@contextmanager
def extended() -> Iterator[None]:
    """Work of our own (hashing) inside does not count against the deadline for dependencies."""
    loop, deadline = asyncio.get_running_loop(), _deadline.get()
    began = loop.time()
    try:
        yield
    finally:
        if deadline is not None:
            deadline.longest += loop.time() - began
            forgive(loop.time() - began)
