"""Plain ASGI middleware around every service, from the outermost inwards."""

from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common import logs
from common.deadlines import LONGEST_SECONDS, SECONDS, start_deadline
from common.request_ids import accept_request_id, request_id
from common.web import http_metrics
from common.web.errors import ApiError, HeadersTooLarge, Unavailable, UriTooLong
from common.web.problems import to_response

__all__ = ["AccessLogMiddleware", "AdmissionMiddleware", "DeadlineMiddleware"]

_QUIET = ("/health", "/livez")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# How much of a path is logged.
MAX_PATH = 256


class AccessLogMiddleware:
    """Assign the request id, record metrics and the access log, and answer unhandled errors.

    Answers without a Cache-Control of their own get `no-store`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._series: dict[tuple[str, str, int], _Series] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began, status, method = perf_counter(), 0, scope["method"]
        if method == "HEAD":
            # HEAD is GET whose body the server leaves out; it looks at its own scope for that.
            scope = {**scope, "method": "GET"}
        accepted_id = accept_request_id(_header(scope, b"x-request-id"))
        request_id.set(accepted_id)
        echoed = (b"x-request-id", accepted_id.encode())

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), echoed]
                for name, _ in headers:
                    if name == b"cache-control":
                        break
                else:
                    headers.append((b"cache-control", b"no-store"))
                message["headers"] = headers
            await send(message)

        try:
            await self.app(scope, receive, observed)
        except Exception as error:
            # Starlette has answered with our 500 and raises it again for servers that log; it is logged.
            if not status:
                await to_response(scope, error)(scope, receive, observed)
        self._record(scope, method, status, perf_counter() - began)

    def _record(self, scope: Scope, method: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None) or "unmatched"
        key = (method if method in _METHODS else "other", route, status)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series(*key)
        series.count()
        series.observe(seconds)
        if series.logged:
            # As it was sent, percent-encoded: it cannot end the line or control a terminal.
            path = scope["raw_path"].partition(b"?")[0][:MAX_PATH].decode("ascii", "backslashreplace")
            logs.log_request(f"{key[0]} {path}", status, round(seconds * 1000, 1))


class _Series:
    """The metrics of one kind of request, looked up once."""

    def __init__(self, method: str, route: str, status: int) -> None:
        self.count = http_metrics.REQUESTS.labels(method, route, status).inc
        self.observe = http_metrics.REQUEST_SECONDS.labels(method, route).observe
        self.logged = not route.endswith(_QUIET)


class AdmissionMiddleware:
    """Refuses URLs over 8 KB (414), headers over 16 KB (431) and more than `most` requests at once (503).

    Probes are always admitted, since a busy process is still alive.
    """

    MAX_URL = 8 * 1024
    MAX_HEADERS = 16 * 1024

    def __init__(self, app: ASGIApp, *, most: int = 512) -> None:
        self.app = app
        self._most = most
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if error := self._refusal(scope):
            return await to_response(scope, error)(scope, receive, send)
        self._running += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._running -= 1

    def _refusal(self, scope: Scope) -> ApiError | None:
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > self.MAX_URL:
            return UriTooLong(f"The URL is longer than {self.MAX_URL} bytes.")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > self.MAX_HEADERS:
            return HeadersTooLarge(f"The headers are larger than {self.MAX_HEADERS} bytes.")
        if self._running >= self._most and not scope["path"].endswith(_QUIET):
            return Unavailable("Too many requests at the same time; try again.")
        return None


class DeadlineMiddleware:
    """Starts each request's time for its dependencies: by default it answers within 1 s even if they are frozen."""

    def __init__(self, app: ASGIApp, *, seconds: float = SECONDS, longest: float = LONGEST_SECONDS) -> None:
        self.app = app
        self._seconds = seconds
        self._longest = longest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            start_deadline(self._seconds, self._longest)
        await self.app(scope, receive, send)


def _header(scope: Scope, name: bytes) -> bytes | None:
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None
