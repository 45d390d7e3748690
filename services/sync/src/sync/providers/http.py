"""Fetches pages of JSON from servers that may be slow, down, wrong or hostile.

A request has one deadline for all of it, a body is cut at a size counted after decompression, and a page is tried three
times.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import httpx

from sync.providers.addresses import parse_address, shown
from sync.providers.base import ProviderConfig, ProviderRefused
from sync.providers.bodies import Body, parse
from sync.providers.connection import Connection, raw_chunks
from sync.providers.retries import retried

__all__ = ["Answer", "Credentials", "JsonClient", "encoding_of", "fetch", "parse"]


class Answer(NamedTuple):
    """What a source answered: the parsed body, and the headers."""

    value: Any
    headers: httpx.Headers


class Credentials(Protocol):
    """What says who a request is from."""

    async def headers(self, connection: Connection) -> Mapping[str, str]:
        """The headers to send; may ask another server for them."""
        ...

    def renew(self) -> bool:
        """The source answered 401: whether `headers` will be other ones now."""
        ...


class JsonClient:
    """GETs JSON from one source, with retries. `get` reads one page; `aclose` at the end."""

    def __init__(
        self,
        config: ProviderConfig,
        credentials: Credentials | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.url = parse_address(config.url)
        self._config = config
        self._connection = Connection(config, self.url)
        self._credentials = credentials
        self._headers = dict(headers or {})
        self.received = 0
        """Bytes of all answers, after decompression."""

    async def get(self, params: Mapping[str, str | int], *, headers: Mapping[str, str] | None = None) -> Any:
        """The parsed answer to one GET, tried three times; raises a `ProviderError`."""
        answer = await self.ask(self.url.copy_merge_params(dict(params)), headers)
        return answer.value

    async def ask(self, url: httpx.URL, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer of this address, which must be one of the source: credentials are sent to it."""
        return await retried(self._config, lambda: self._renewed(url, headers or {}))

    async def aclose(self) -> None:
        """Close the connections; may be called more than once."""
        await self._connection.aclose()

    async def _renewed(self, url: httpx.URL, headers: Mapping[str, str]) -> Answer:
        """An answer; credentials that were refused are renewed once."""
        sent = await self._signed(headers)
        try:
            return await self._ask_once(url, sent)
        except ProviderRefused as error:
            if error.status != 401 or self._credentials is None or not self._credentials.renew():
                raise
        return await self._ask_once(url, await self._signed(headers))

    async def _signed(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        found = await self._credentials.headers(self._connection) if self._credentials is not None else {}
        return {**self._headers, **headers, **found}

    async def _ask_once(self, url: httpx.URL, headers: Mapping[str, str]) -> Answer:
        request = self._connection.request(url, headers)
        body, received = await fetch(self._connection, request, self._config.timeout, self._config.max_page_bytes)
        self.received += len(body)
        return Answer(parse(body, shown(self.url)), received)


async def fetch(
    connection: Connection, request: httpx.Request, seconds: float, limit: int
) -> tuple[bytes, httpx.Headers]:
    """Body and headers of a successful answer that came whole within this time."""
    async with connection.send(request, seconds) as response:
        body = Body(encoding_of(response), limit, shown(request.url))
        async for chunk in raw_chunks(response):
            body.feed(chunk)
        return body.finish(), response.headers


def encoding_of(response: httpx.Response) -> str:
    """Content-Encoding, in lower case."""
    return str(response.headers.get("content-encoding", "identity")).strip().lower()
