"""Fetches pages of JSON from servers that may be slow, down, wrong or hostile.

A request has one deadline for all of it, a body is cut at a size counted after decompression, redirects are
not followed, and a page is tried three times. What a server sends is never part of an error's text.
"""

import asyncio
import json
import logging
import re
import zlib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from sync.providers.base import (
    ProviderAnswerInvalid,
    ProviderConfig,
    ProviderMisconfigured,
    ProviderRefused,
    ProviderUnavailable,
)

__all__ = ["JsonClient", "parse"]

TRIES = 3
BACKOFF_BASE = 1.0
BACKOFF_CAP = 30.0
RETRY_AFTER_FLOOR = 0.5
RETRY_AFTER_CAP = 300.0
MAX_VALUES = 500_000
# Each costs a copy of the rest of its chunk.
MAX_MEMBERS = 1_000

# At INFO httpx logs whole addresses, and an address may carry a key.
logging.getLogger("httpx").setLevel(logging.WARNING)


class JsonClient:
    """GETs JSON from one source, with retries. `get` reads one page; `aclose` at the end."""

    def __init__(self, config: ProviderConfig) -> None:
        self.url = _address(config.url)
        self._config = config
        self._client = httpx.AsyncClient(
            transport=config.transport,
            timeout=config.timeout,
            follow_redirects=False,
            # A proxy cannot reach a source on this machine.
            trust_env=self.url.host not in {"127.0.0.1", "::1", "localhost"},
            # Only what `_Body` can decompress within its limit is accepted.
            headers={
                "User-Agent": "products-api-sync",
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
            },
        )

    async def get(self, params: Mapping[str, str | int], *, headers: Mapping[str, str] | None = None) -> Any:
        """The parsed answer to one GET, tried three times; raises a `ProviderError`."""
        request = self._client.build_request("GET", self.url.copy_merge_params(dict(params)), headers=headers)
        attempt = 1
        while True:
            try:
                return parse(await self._fetch(request), self._where)
            except ProviderUnavailable as error:
                if attempt == TRIES:
                    raise
                await self._config.sleep(self._delay(attempt, error.retry_after))
                attempt += 1

    async def aclose(self) -> None:
        """Close the connections; may be called more than once."""
        await self._client.aclose()

    @property
    def _where(self) -> str:
        """The address without user, password and query, which may be secrets."""
        return _without_secrets(self.url)

    def _delay(self, attempt: int, retry_after: float | None) -> float:
        if retry_after is not None:
            return retry_after
        return self._config.rng() * min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** (attempt - 1))

    async def _fetch(self, request: httpx.Request) -> bytes:
        """The body of a successful answer; raises a `ProviderError` for everything else."""
        where, seconds = self._where, self._config.timeout
        try:
            async with asyncio.timeout(seconds):
                response = await self._client.send(request, stream=True)
                try:
                    self._check_status(response)
                    return await self._read(response)
                finally:
                    await response.aclose()
        except (TimeoutError, httpx.TimeoutException) as error:
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
        status, where = response.status_code, self._where
        if 200 <= status < 300:
            return
        if status in {408, 425, 429} or status >= 500:
            wait = self._retry_after(response.headers)
            raise ProviderUnavailable(f"{where} answered {status}: try again later.", retry_after=wait)
        raise ProviderRefused(f"{where} answered {status}: {_advice(response)}")

    def _retry_after(self, headers: httpx.Headers) -> float | None:
        """Seconds to wait from either form of Retry-After, within bounds; None if there is none."""
        value = headers.get("retry-after", "").strip()
        if re.fullmatch(r"[0-9]+", value):
            seconds = float(value)
        else:
            try:
                seconds = parsedate_to_datetime(value).timestamp() - self._config.clock()
            except (ValueError, OverflowError):
                return None
        return min(max(seconds, RETRY_AFTER_FLOOR), RETRY_AFTER_CAP)

    async def _read(self, response: httpx.Response) -> bytes:
        """The body, decompressed here: httpx inflates a whole chunk at once, up to a thousandfold."""
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        body = _Body(encoding, self._config.max_page_bytes, self._where)
        stream = response.stream
        if not isinstance(stream, httpx.AsyncByteStream):
            raise ProviderAnswerInvalid(f"{self._where} gave a body that cannot be streamed.")
        async for chunk in stream:
            body.feed(chunk)
        return body.finish()


class _Body:
    """Collects a body, decompressed, and stops as soon as it is too large."""

    def __init__(self, encoding: str, limit: int, where: str) -> None:
        if encoding not in {"", "identity", "gzip", "x-gzip"}:
            raise ProviderAnswerInvalid(f"{where} sent a content encoding that was not asked for.")
        self._unzip = zlib.decompressobj(wbits=31) if encoding.endswith("gzip") else None
        self._limit = limit
        self._where = where
        self._arrived = 0
        self._members = 1
        self._body = bytearray()

    def feed(self, chunk: bytes) -> None:
        # What arrives is counted too: empty gzip blocks inflate to nothing without end.
        self._arrived += len(chunk)
        if self._unzip is None:
            self._extend(chunk)
            return
        while chunk:
            chunk = self._inflate(self._unzip, chunk)

    def _inflate(self, unzip: "zlib._Decompress", chunk: bytes) -> bytes:
        """Take what the chunk holds of the gzip member at hand, and return the rest of the chunk.

        A body may be several members, one after the other, with zeros behind them (RFC 1952).
        """
        if unzip.eof:
            chunk = chunk.lstrip(b"\0")
            if not chunk:
                return b""
            self._members += 1
            self._unzip = unzip = zlib.decompressobj(wbits=31)
        if self._members > MAX_MEMBERS:
            raise ProviderAnswerInvalid(f"{self._where} sent a body of more than {MAX_MEMBERS} gzip members.")
        try:
            self._extend(unzip.decompress(chunk, self._limit + 1 - len(self._body)))
        except zlib.error as error:
            raise ProviderAnswerInvalid(f"{self._where} sent a body that cannot be decompressed.") from error
        return unzip.unused_data

    def _extend(self, data: bytes) -> None:
        self._body += data
        if max(self._arrived, len(self._body)) > self._limit:
            raise ProviderAnswerInvalid(
                f"{self._where} sent more than {self._limit} bytes in one page: ask for smaller pages."
            )

    def finish(self) -> bytes:
        if self._unzip is not None and not self._unzip.eof:
            raise ProviderAnswerInvalid(f"{self._where} sent a body that is cut off.")
        return bytes(self._body)


def parse(body: bytes, where: str = "The source") -> Any:
    """JSON with every fraction as a `Decimal`; NaN and infinities are refused with their record."""
    # Ten megabytes of `[],[],` are hundreds of megabytes of lists.
    if body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_VALUES:
        raise ProviderAnswerInvalid(f"{where} sent more than {MAX_VALUES} values in one page.")
    try:
        return json.loads(body.decode("utf-8-sig"), parse_float=_decimal, parse_int=_whole, parse_constant=_decimal)
    except (ValueError, RecursionError) as error:
        # Not chained: the cause carries the whole page.
        raise ProviderAnswerInvalid(
            f"{where} sent {len(body)} bytes that are not JSON ({type(error).__name__}): check the address."
        ) from None


def _decimal(literal: str) -> Decimal:
    try:
        return Decimal(literal)
    except InvalidOperation:
        return Decimal("NaN")  # an exponent that Decimal cannot hold


def _whole(literal: str) -> int | Decimal:
    # int() raises for 4300 digits, which would fail the page; a Decimal is refused with its record.
    number = int(literal) if len(literal) <= 20 else None
    return number if number is not None and -(2**63) <= number < 2**64 else Decimal(literal)


def _address(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except (httpx.InvalidURL, TypeError, ValueError):
        raise ProviderMisconfigured("The address of the source is not a URL.") from None
    if address.scheme not in {"http", "https"} or not address.host:
        raise ProviderMisconfigured("The address of the source must begin with http:// or https:// and a host.")
    return address


def _without_secrets(url: httpx.URL) -> str:
    return str(url.copy_with(username=None, password=None, query=None, fragment=None))


def _advice(response: httpx.Response) -> str:
    status = response.status_code
    if status == 304:
        return "nothing was asked that could be unchanged, so check the cache before the source."
    if response.is_redirect:
        return "redirects are not followed, so set the final address."
    if status in {401, 403}:
        return "check the credentials of the source."
    return "check the address of the source." if status == 404 else "it does not accept our request."
