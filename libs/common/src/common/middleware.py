"""Plain ASGI layers around every service, from the outermost inwards."""

import logging
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common import context, metrics
from common.errors import ApiError, BodyTooLarge, HeadersTooLarge, UriTooLong
from common.problems import respond

__all__ = ["Deadline", "Limits", "Observer"]

access = logging.getLogger("access")
log = logging.getLogger(__name__)
_QUIET = ("/health", "/livez")


class Observer:
    """Names each request (X-Request-ID), counts and times it by route, logs it, and answers what nobody caught."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._series: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began, status, method = perf_counter(), 0, scope["method"]
        if method == "HEAD":
            # HEAD is GET whose body the server leaves out; it looks at its own scope for that.
            scope = {**scope, "method": "GET"}
        request_id = context.accept_request_id(_header(scope, b"x-request-id"))
        context.request_id.set(request_id)
        echoed = (b"x-request-id", request_id.encode())

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), echoed]
            await send(message)

        try:
            await self.app(scope, receive, observed)
        except Exception as error:
            # Starlette has answered with our 500 and raises it again for servers that log; it is logged.
            if not status:
                await respond(scope, error)(scope, receive, observed)
        self._record(scope, method, status, perf_counter() - began)

    def _record(self, scope: Scope, method: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None) or "unmatched"
        key = (method if method in _METHODS else "other", route, status)
        series = self._series.get(key)
        if series is None:
            series = metrics.REQUESTS.labels(*key), metrics.REQUEST_SECONDS.labels(*key[:2])
            self._series[key] = series
        series[0].inc()
        series[1].observe(seconds)
        if access.isEnabledFor(logging.INFO) and not route.endswith(_QUIET):
            fields = {"status": status, "ms": round(seconds * 1000, 1)}
            access.info("%s %s", method, scope["path"], extra=fields)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Limits:
    """Refuses URLs over 8 KB (414), headers over 16 KB (431) and bodies over `max_body` bytes (413)."""

    MAX_URL = 8 * 1024
    MAX_HEADERS = 16 * 1024

    def __init__(self, app: ASGIApp, *, max_body: int = 1024 * 1024, max_internal_body: int = 16 * 1024 * 1024) -> None:
        self.app = app
        self.max_body = max_body
        self.max_internal_body = max_internal_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        limit = self.max_internal_body if scope["path"].startswith("/internal/") else self.max_body
        if error := self._refusal(scope, limit):
            return await respond(scope, error)(scope, receive, send)
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise BodyTooLarge(f"The body is larger than {limit} bytes.")
            return message

        await self.app(scope, limited, send)

    def _refusal(self, scope: Scope, limit: int) -> ApiError | None:
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > self.MAX_URL:
            return UriTooLong(f"The URL is longer than {self.MAX_URL} bytes.")
        size = 0
        for name, value in scope["headers"]:
            size += len(name) + len(value)
            if name == b"content-length" and value.isdigit() and int(value) > limit:
                return BodyTooLarge(f"The body is larger than {limit} bytes.")
        return (
            HeadersTooLarge(f"The headers are larger than {self.MAX_HEADERS} bytes.")
            if size > self.MAX_HEADERS
            else None
        )


class Deadline:
    """Starts each request's time for its dependencies: a public one answers within 1 s even if they are frozen."""

    def __init__(self, app: ASGIApp, *, seconds: float = 0.6, longest: float = 5.0, internal: float = 60.0) -> None:
        self.app = app
        self.public = (seconds, longest)
        self.internal = (internal, internal)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            context.start_deadline(*self.internal if scope["path"].startswith("/internal/") else self.public)
        await self.app(scope, receive, send)


def _header(scope: Scope, name: bytes) -> bytes | None:
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None
