"""What belongs to the request at hand: its id and its deadline."""

import asyncio
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["accept_request_id", "extended", "remaining", "request_id", "start_deadline"]

request_id: ContextVar[str] = ContextVar("request_id", default="-")
_expires: ContextVar[float | None] = ContextVar("expires", default=None)
_SAFE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}").fullmatch


def accept_request_id(sent: bytes | None) -> str:
    """The client's X-Request-ID where it is safe to log, else a new one."""
    return sent.decode("ascii") if sent and _SAFE_ID(sent) else uuid.uuid4().hex


def start_deadline(seconds: float) -> None:
    """From now, waiting for dependencies must end within `seconds`."""
    _expires.set(asyncio.get_running_loop().time() + seconds)


def remaining(default: float) -> float:
    """Seconds that a wait for a dependency may still take; `default` outside a request."""
    expires = _expires.get()
    if expires is None:
        return default
    return max(0.0, expires - asyncio.get_running_loop().time())


@contextmanager
def extended() -> Iterator[None]:
    """Work of our own (hashing) inside does not count against the deadline for dependencies."""
    loop, expires = asyncio.get_running_loop(), _expires.get()
    began = loop.time()
    try:
        yield
    finally:
        if expires is not None:
            _expires.set(expires + loop.time() - began)
