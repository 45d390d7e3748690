"""FAULTS=source=0.2: an external API that is down at times. Imported only when FAULTS is set."""

import httpx

from common import faults

__all__ = ["UnreliableSource"]


class UnreliableSource(httpx.AsyncHTTPTransport):
    """A transport to the external API that answers a share of the requests with 503 itself. It takes no proxy."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(503) if faults.should_fail("source") else await super().handle_async_request(request)
