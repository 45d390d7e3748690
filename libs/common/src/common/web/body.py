"""Request bodies, with limits on their size, on their time, and on what the process holds of all of them."""

import asyncio

from starlette.requests import Request
from starlette.types import Message, Receive

from common.deadlines import paused_deadline
from common.web.errors import BodyTooLarge, RequestTimeout, Unavailable, UnsupportedMediaType

__all__ = ["BoundedBody", "check_media_type", "has_body"]

# A body may take GRACE_SECONDS, and a second more for each BYTES_PER_SECOND that it has.
GRACE_SECONDS, BYTES_PER_SECOND = 10.0, 16 * 1024
# How many bytes of the bodies of unfinished requests the process holds at most.
MAX_HELD = 32 * 1024 * 1024
UTF8 = frozenset({"utf-8", "utf8", "us-ascii"})


class _Held:
    """How many bytes of the bodies of unfinished requests the process holds."""

    total = 0


def has_body(request: Request) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


def check_media_type(request: Request, *, form: bool) -> None:
    """Raises UnsupportedMediaType for a body that is not JSON (or a form) in plain UTF-8."""
    kind, *parameters = (part.strip().lower() for part in request.headers.get("content-type", "").split(";"))
    wanted = "application/x-www-form-urlencoded" if form else "application/json"
    if kind != wanted and (form or not (kind.startswith("application/") and kind.endswith("+json"))):
        raise UnsupportedMediaType(f"Send the body as {wanted}.")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip(' "') not in UTF8:
            raise UnsupportedMediaType("Send the body in UTF-8.")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaType("Send the body without Content-Encoding; it is not decompressed.")


class BoundedBody:
    """`async with BoundedBody(request, limit) as receive`: an ASGI `receive` that keeps the limits.

    It raises BodyTooLarge over `limit` bytes, RequestTimeout when the client is too slow, and Unavailable when the
    process holds too many bytes.
    """

    def __init__(self, request: Request, limit: int) -> None:
        length = request.headers.get("content-length", "")
        self._too_large = length.isdigit() and (len(length) > 15 or int(length) > limit)
        self._receive = request.receive
        self._limit = limit
        self._received = 0

    async def __aenter__(self) -> Receive:
        if self._too_large:
            raise self._refusal()
        self._expires = asyncio.get_running_loop().time() + GRACE_SECONDS
        return self._next

    async def __aexit__(self, *_: object) -> None:
        _Held.total -= self._received

    async def _next(self) -> Message:
        try:
            # A slow client is not a slow dependency.
            with paused_deadline():
                async with asyncio.timeout_at(self._expires):
                    message = await self._receive()
        except TimeoutError:
            raise RequestTimeout(GRACE_SECONDS + self._received / BYTES_PER_SECOND) from None
        size = len(message.get("body", b""))
        self._received += size
        self._expires += size / BYTES_PER_SECOND
        _Held.total += size
        if self._received > self._limit:
            raise self._refusal()
        if _Held.total > MAX_HELD:
            raise Unavailable("Too many large bodies at the same time; try again.")
        return message

    def _refusal(self) -> BodyTooLarge:
        return BodyTooLarge(f"The body is larger than {self._limit} bytes.")
