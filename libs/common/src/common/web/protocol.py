"""uvicorn's HTTP/1.1 protocol with limits on the head of a request, and problem documents for invalid HTTP."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from common.request_ids import accept_request_id
from common.web import http_metrics
from common.web.errors import ApiError, BadRequest, HeadersTooLarge
from common.web.problems import problem_body

__all__ = ["Protocol"]

# A larger head is not read to its end; AdmissionMiddleware refuses smaller ones that are too large.
MAX_HEAD = 300 * 1024
# How long the head of a request may take, and the rest of a body after the response.
HEAD_SECONDS = 20.0
REST_SECONDS = 5.0
# How long a client may take to close its side after it was refused.
LINGER_SECONDS = 2.0


class Protocol(HttpToolsProtocol):
    """One connection, with limits on the time of a head and of a body that nobody reads; uvicorn has none."""

    _head = 0
    _reading_head = False
    _refused = False
    _overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expire_after(float(self.timeout_keep_alive))

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_expiry()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        if self._reading_head:
            if self._overdue is None:
                self._expire_after(HEAD_SECONDS)
        elif self._overdue is not None and (self.cycle is None or not self.cycle.response_complete):
            self._cancel_expiry()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head, self._reading_head = 0, True
        self._cancel_expiry()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._reading_head = False
        super().on_headers_complete()
        if self.cycle is not None and self.cycle.scope["method"] != "HEAD":
            self.cycle.transport = _ResponseTransport(self.cycle)  # type: ignore[assignment]  # what a cycle uses of it

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.more_body and not self.transport.is_closing():
            self._expire_after(REST_SECONDS)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._cancel_expiry()

    def send_400_response(self, msg: str) -> None:
        """Respond to what is not HTTP, or has too large a head."""
        if not self._refused:
            error: ApiError = BadRequest("The request is not valid HTTP/1.1.")
            if self._head > MAX_HEAD:
                error = HeadersTooLarge(f"The headers are larger than {MAX_HEAD} bytes.")
            self._refuse(error)

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > MAX_HEAD:
            raise ValueError("the head is too large")  # httptools raises its own error for it, and that leads to a 400

    def _refuse(self, error: ApiError) -> None:
        self._refused = True
        http_metrics.REQUESTS.labels("other", "unmatched", error.status).inc()
        request_id = accept_request_id(None)
        body = problem_body(error.status, str(error.detail), request_id=request_id)
        lines = [
            f"HTTP/1.1 {error.status} {error.problem_title()}",
            "content-type: application/problem+json",
            "cache-control: no-store",
            f"content-length: {len(body)}",
            f"x-request-id: {request_id}",
            "connection: close",
        ]
        self.transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        # Closed after the client has: closing while it still sends would reset the connection and lose the response.
        self.transport.write_eof()
        self._expire_after(LINGER_SECONDS)

    def _expire_after(self, seconds: float) -> None:
        self._cancel_expiry()
        self._overdue = self.loop.call_later(seconds, self._expire)

    def _cancel_expiry(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _expire(self) -> Any:
        self._overdue = None
        if not self.transport.is_closing():
            self.transport.close()


class _ResponseTransport:
    """The transport of one response: it sends the head together with the first bytes of the body.

    uvicorn writes them one after the other, which takes two system calls, a tenth of the time of a short response.
    """

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._transport = cycle.transport
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        # What comes before the response is "100 Continue".
        if self._head is None and self._cycle.response_started:
            self._head = data
        else:
            self._transport.write(self._head + data if self._head else data)
            self._head = b""

    def close(self) -> None:
        if self._head:
            self._transport.write(self._head)
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()
