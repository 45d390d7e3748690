"""The id of the request at hand: in its answer, in its problems and on its log lines."""

import random
import string
from contextvars import ContextVar

__all__ = ["accept_request_id", "request_id"]

request_id: ContextVar[str] = ContextVar("request_id", default="-")
_SAFE = f"{string.ascii_letters}{string.digits}._-".encode()
MAX_ID = 64


def accept_request_id(sent: bytes | None) -> str:
    """The client's X-Request-ID where it is safe to log, else a new one."""
    safe = sent and len(sent) <= MAX_ID and not sent.translate(None, _SAFE)
    return sent.decode("ascii") if sent and safe else f"{random.getrandbits(128):032x}"
