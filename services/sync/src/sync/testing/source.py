"""A source without a network: serves records through an API's own paging, and misbehaves as told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx

from sync.providers.base import ProviderConfig

__all__ = ["Fault", "ScriptedSource", "Serve", "body", "hang", "padded", "repeat", "reset", "status", "truncated"]

Serve = Callable[[httpx.Request, list[Any]], httpx.Response]
Fault = Callable[["ScriptedSource", httpx.Response], Awaitable[httpx.Response]]

MAX_REQUESTS = 300


class ScriptedSource(httpx.AsyncBaseTransport):
    """A transport that answers by `serve`, and by `fault` from request number `since` on, `times` times.

    `requests` are all that came, `sleeps` all the seconds that the provider asked to wait: none of it takes time.
    """

    def __init__(
        self,
        serve: Serve,
        records: list[Any],
        fault: Fault | None = None,
        *,
        since: int = 1,
        times: int = MAX_REQUESTS,
    ) -> None:
        self._serve = serve
        self._records = records
        self._fault = fault
        self._faulty = range(since, since + times)
        self._host = ""
        self.requests: list[httpx.Request] = []
        self.sleeps: list[float] = []
        self.first: httpx.Response | None = None
        self.stuck = asyncio.Event()
        """Set once somebody waits for a body that never comes."""
        self.open_bodies = 0

    def config(self, url: str, page_size: int, **more: Any) -> ProviderConfig:
        """Settings by which a provider talks to this source and to no clock."""
        self._host = httpx.URL(url).host
        return ProviderConfig(url=url, page_size=page_size, transport=self, sleep=self._sleep, rng=lambda: 1.0, **more)

    async def _sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        await asyncio.sleep(0)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.host != self._host:
            raise AssertionError(f"the provider followed a redirect to {request.url.host}")
        if len(self.requests) > MAX_REQUESTS:
            raise AssertionError(f"the provider sent more than {MAX_REQUESTS} requests in one check")
        await asyncio.sleep(0)  # so that a deadline can stop a provider that never ends
        response = self._serve(request, self._records)
        self.first = self.first or response
        if self._fault is not None and len(self.requests) in self._faulty:
            return await self._fault(self, response)
        return response


class _Stuck(httpx.AsyncByteStream):
    """The beginning of a body, and then nothing for ever."""

    def __init__(self, source: ScriptedSource, beginning: bytes) -> None:
        self._source = source
        self._beginning = beginning
        source.open_bodies += 1

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._beginning
        self._source.stuck.set()
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        self._source.open_bodies -= 1


async def hang(source: ScriptedSource, response: httpx.Response) -> httpx.Response:
    """Half a body that never goes on."""
    return httpx.Response(200, stream=_Stuck(source, response.content[: len(response.content) // 2]))


async def reset(source: ScriptedSource, response: httpx.Response) -> httpx.Response:
    """A connection that breaks."""
    raise httpx.ReadError("connection reset by peer")


async def repeat(source: ScriptedSource, response: httpx.Response) -> httpx.Response:
    """The first page, whatever is asked for."""
    return source.first or response


async def truncated(source: ScriptedSource, response: httpx.Response) -> httpx.Response:
    """Half of the JSON, as if it were all."""
    return httpx.Response(200, content=response.content[: len(response.content) // 2])


def status(code: int, **headers: str) -> Fault:
    """An empty answer with this status; `retry_after="7"` becomes a header."""

    async def fault(source: ScriptedSource, response: httpx.Response) -> httpx.Response:
        return httpx.Response(code, headers={name.replace("_", "-"): text for name, text in headers.items()})

    return fault


def body(content: str, content_type: str = "application/json") -> Fault:
    """A good status over this body."""

    async def fault(source: ScriptedSource, response: httpx.Response) -> httpx.Response:
        return httpx.Response(200, text=content, headers={"content-type": content_type})

    return fault


def padded(size: int) -> Fault:
    """The right answer behind this many blanks."""

    async def fault(source: ScriptedSource, response: httpx.Response) -> httpx.Response:
        return httpx.Response(200, content=b" " * size + response.content)

    return fault
