"""The id of the request at hand: in its answer, in its problems and on its log lines."""

import re
import uuid
from contextvars import ContextVar

__all__ = ["accept_request_id", "request_id"]

request_id: ContextVar[str] = ContextVar("request_id", default="-")
_SAFE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}").fullmatch


def accept_request_id(sent: bytes | None) -> str:
    """The client's X-Request-ID where it is safe to log, else a new one."""
    return sent.decode("ascii") if sent and _SAFE_ID(sent) else uuid.uuid4().hex
