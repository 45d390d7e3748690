"""What belongs to the request at hand: its id and its deadline."""

import asyncio
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["accept_request_id", "extended", "patience", "request_id", "start_deadline"]

request_id: ContextVar[str] = ContextVar("request_id", default="-")
_SAFE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}").fullmatch


def accept_request_id(sent: bytes | None) -> str:
    """The client's X-Request-ID where it is safe to log, else a new one."""
    return sent.decode("ascii") if sent and _SAFE_ID(sent) else uuid.uuid4().hex


@dataclass
class _Deadline:
    """Waits end at `expires`, or as long as the dependency keeps answering, `seconds` after its last answer."""

    seconds: float
    expires: float
    longest: float


_deadline: ContextVar[_Deadline | None] = ContextVar("deadline", default=None)


def start_deadline(seconds: float, longest: float) -> None:
    """From now, waiting for a silent dependency ends within `seconds`, for a busy one within `longest`."""
    now = asyncio.get_running_loop().time()
    _deadline.set(_Deadline(seconds, now + seconds, now + longest))


def patience(default: float, answered: float = float("-inf")) -> float:
    """Seconds that a wait may still take for a dependency that last `answered` then (by the loop's clock).

    So a frozen dependency is given up at once, and one that is merely behind with many requests is not.
    Outside a request it is `default`.
    """
    if (deadline := _deadline.get()) is None:
        return default
    expires = min(max(deadline.expires, answered + deadline.seconds), deadline.longest)
    return max(0.0, expires - asyncio.get_running_loop().time())


@contextmanager
def extended() -> Iterator[None]:
    """Work of our own (hashing) inside does not count against the deadline for dependencies."""
    loop, deadline = asyncio.get_running_loop(), _deadline.get()
    began = loop.time()
    try:
        yield
    finally:
        if deadline is not None:
            deadline.expires += loop.time() - began
            deadline.longest += loop.time() - began
