"""One source over HTTP: sends requests, and turns all that can go wrong into a `ProviderError`.

Redirects are not followed, private addresses are refused unless they are allowed, and requests keep a rate. What a
server sends is never part of an error's text.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx

from sync.providers.addresses import shown
from sync.providers.base import (
    ProviderAnswerInvalid,
    ProviderConfig,
    ProviderMisconfigured,
    ProviderRefused,
    ProviderUnavailable,
)
from sync.providers.guard import GuardedTransport
from sync.providers.retries import retry_after

__all__ = ["Connection", "raw_chunks"]

# At INFO httpx logs whole addresses, and an address may carry a key.
logging.getLogger("httpx").setLevel(logging.WARNING)


class Connection:
    """Sends requests to the source at `url`; `aclose` at the end."""

    def __init__(self, config: ProviderConfig, url: httpx.URL) -> None:
        self._config = config
        self._client = httpx.AsyncClient(
            transport=config.transport if config.transport or config.allow_private else GuardedTransport(),
            timeout=config.timeout,
            follow_redirects=False,
            # A proxy cannot reach a source on this machine.
            trust_env=url.host not in {"127.0.0.1", "::1", "localhost"},
            # Only what `bodies` can decompress within its limit is accepted.
            headers={
                "User-Agent": "products-api-sync",
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
            },
        )
        self._turn = asyncio.Lock()
        self._last_request: float | None = None

    def request(
        self, url: httpx.URL, headers: Mapping[str, str] | None = None, form: Mapping[str, str] | None = None
    ) -> httpx.Request:
        """A GET, or a POST of the form."""
        method = "GET" if form is None else "POST"
        return self._client.build_request(method, url, headers=headers, data=dict(form) if form is not None else None)

    @asynccontextmanager
    async def send(self, request: httpx.Request, seconds: float | None) -> AsyncIterator[httpx.Response]:
        """The answer, if its status is that of a success, with its body still to be read; all of it in this time."""
        await self._await_turn()
        with self._errors(shown(request.url)):
            async with asyncio.timeout(seconds):
                response = await self._client.send(request, stream=True)
                try:
                    self._check_status(response)
                    yield response
                finally:
                    await response.aclose()

    async def aclose(self) -> None:
        """Close the connections; may be called more than once."""
        await self._client.aclose()

    async def _await_turn(self) -> None:
        """Keep the rate that the source wants."""
        rate = self._config.max_requests_per_second
        if rate is None:
            return
        async with self._turn:
            now = self._config.clock()
            if self._last_request is not None:
                # Bounded, for a clock may be set back.
                await self._config.sleep(min(max(self._last_request + 1 / rate - now, 0.0), 1 / rate))
            self._last_request = self._config.clock()

    @contextmanager
    def _errors(self, where: str) -> Iterator[None]:
        try:
            yield
        except (TimeoutError, httpx.TimeoutException) as error:
            seconds = self._config.timeout
            raise ProviderUnavailable(f"{where} gave no complete answer within {seconds:g} s.") from error
        except (httpx.UnsupportedProtocol, UnicodeError) as error:
            raise ProviderMisconfigured(f"{where} is not an address to connect to.") from error
        except httpx.DecodingError as error:
            raise ProviderAnswerInvalid(f"{where} sent a body that cannot be decompressed.") from error
        except (httpx.TransportError, OSError) as error:
            raise ProviderUnavailable(
                f"No connection to {where} ({type(error).__name__}): check the address and the network."
            ) from error

    def _check_status(self, response: httpx.Response) -> None:
        status, where = response.status_code, shown(response.request.url)
        if 200 <= status < 300:
            return
        if status in {408, 425, 429} or status >= 500:
            wait = retry_after(response.headers.get("retry-after", ""), self._config.clock())
            raise ProviderUnavailable(f"{where} answered {status}: try again later.", retry_after=wait)
        raise ProviderRefused(f"{where} answered {status}: {_advice(response)}", status=status)


def raw_chunks(response: httpx.Response) -> AsyncIterator[Any]:
    """The body as it arrives, not decompressed."""
    stream = response.stream
    if not isinstance(stream, httpx.AsyncByteStream):
        raise ProviderAnswerInvalid(f"{shown(response.request.url)} gave a body that cannot be streamed.")
    return aiter(stream)


def _advice(response: httpx.Response) -> str:
    status = response.status_code
    if status == 304:
        return "nothing was asked that could be unchanged, so check the cache before the source."
    if response.is_redirect:
        return "redirects are not followed, so set the final address."
    if status in {401, 403}:
        return "check the credentials of the source."
    return "check the address of the source." if status == 404 else "it does not accept our request."
