"""What is in a file, in pieces: one that is fetched, or one in a folder that an operator mounts. Gzip is unpacked."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from typing import NamedTuple, Protocol

import httpx

from sync.providers.addresses import parse_address, shown
from sync.providers.base import (
    ProviderConfig,
    ProviderMisconfigured,
    ProviderPagingError,
    ProviderRefused,
    SourceUnchanged,
)
from sync.providers.bodies import PIECE, Unpacker
from sync.providers.conditions import Condition
from sync.providers.connection import Connection, raw_chunks
from sync.providers.credentials import Auth, credentials
from sync.providers.folders import NotInFolder, open_within
from sync.providers.http import encoding_of

__all__ = ["Contents", "Opened", "contents"]

GZIP = b"\x1f\x8b"
# Files of bgzip have a member every few kilobytes.
MAX_MEMBERS = 1_000_000


class Opened(NamedTuple):
    """A file that is being read. `identity` is another one when the file has changed, as far as one can know."""

    identity: str
    validators: dict[str, str]
    pieces: AsyncGenerator[bytes, None]


class Contents(Protocol):
    """A file that can be opened more than once."""

    base: str
    """What relative addresses in it are relative to; empty if to nothing."""

    def opened(self, *, if_changed: bool) -> AbstractAsyncContextManager[Opened]:
        """The file; raises `SourceUnchanged` if it is as in the last complete pass, where that is asked."""
        ...

    async def aclose(self) -> None: ...


def contents(config: ProviderConfig, auth: Auth) -> Contents:
    """The file that `config.url` names."""
    scheme, _, name = config.url.partition(":")
    if scheme != "file":
        return _Fetched(config, auth)
    if config.files_folder is None:
        raise ProviderMisconfigured("The worker has no folder of files: give the file an http(s) address.")
    return _Mounted(config, config.files_folder, name)


class _Fetched:
    """A file at an address."""

    def __init__(self, config: ProviderConfig, auth: Auth) -> None:
        self._config = config
        self._url = parse_address(config.url)
        self._credentials = credentials(auth, config)
        self._connection = Connection(config, self._url)
        self._condition = Condition(config)
        self.base = shown(self._url)

    @asynccontextmanager
    async def opened(self, *, if_changed: bool) -> AsyncIterator[Opened]:
        condition = self._condition.headers() if if_changed else {}
        async with AsyncExitStack() as stack:
            request = await self._request(condition)
            try:
                response = await stack.enter_async_context(self._connection.send(request, None))
            except ProviderRefused as error:
                if error.status == 304 and condition:
                    raise SourceUnchanged from None
                if error.status != 401 or self._credentials is None or not self._credentials.renew():
                    raise
                request = await self._request(condition)
                response = await stack.enter_async_context(self._connection.send(request, None))
            yield self._opened(response)

    async def aclose(self) -> None:
        await self._connection.aclose()

    async def _request(self, condition: Mapping[str, str]) -> httpx.Request:
        found: Mapping[str, str] = {}
        if self._credentials is not None:
            found = await self._credentials.headers(self._connection)
        return self._connection.request(self._url, {"Accept": "*/*", **condition, **found})

    def _opened(self, response: httpx.Response) -> Opened:
        headers = response.headers
        identity = headers.get("etag") or headers.get("last-modified") or headers.get("content-length") or ""
        unpacker = Unpacker(encoding_of(response), self.base, members=MAX_MEMBERS)
        return Opened(
            identity, self._condition.of(headers), _unpacked(self._chunks(response), unpacker, self._config, self.base)
        )

    async def _chunks(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        """A large file takes its time; what has a limit is the wait for the next part of it."""
        stream = raw_chunks(response)
        while True:
            try:
                async with asyncio.timeout(self._config.timeout):
                    chunk = await anext(stream)
            except StopAsyncIteration:
                return
            yield chunk


class _Mounted:
    """A file in a folder."""

    base = ""

    def __init__(self, config: ProviderConfig, folder: str, name: str) -> None:
        self._config = config
        self._condition = Condition(config)
        self._folder = folder
        self._name = name
        try:
            open_within(folder, name).close()
        except NotInFolder as error:
            raise ProviderMisconfigured(f"The file {name[:100]!r} {error}.") from None

    @asynccontextmanager
    async def opened(self, *, if_changed: bool) -> AsyncIterator[Opened]:
        try:
            file = open_within(self._folder, self._name)
        except NotInFolder as error:
            raise ProviderMisconfigured(f"The file {self._name[:100]!r} {error}.") from None

        async def chunks() -> AsyncGenerator[bytes, None]:
            while chunk := await asyncio.to_thread(file.read, PIECE):
                yield chunk

        with file:
            state = os.fstat(file.fileno())
            where = f"The file {self._name}"
            unpacker = Unpacker("identity", where)
            identity = f"{state.st_size}-{state.st_mtime_ns}"
            if if_changed and self._condition.is_met_by(identity):
                raise SourceUnchanged
            yield Opened(
                identity, self._condition.of({"etag": identity}), _unpacked(chunks(), unpacker, self._config, where)
            )

    async def aclose(self) -> None:
        """There is nothing to close."""


async def _unpacked(
    chunks: AsyncGenerator[bytes, None], unpacker: Unpacker, config: ProviderConfig, where: str
) -> AsyncGenerator[bytes, None]:
    """The pieces of the file itself, which may be gzip whatever the server says."""
    inner: Unpacker | None = None
    size = 0
    beginning = b""
    async with aclosing(chunks):
        async for chunk in chunks:
            for piece in unpacker.feed(chunk):
                if inner is None:
                    beginning += piece
                    if len(beginning) < len(GZIP):
                        continue
                    encoding = "gzip" if beginning.startswith(GZIP) else "identity"
                    inner, piece = Unpacker(encoding, where, members=MAX_MEMBERS), beginning
                for found in inner.feed(piece):
                    size += len(found)
                    if size > config.max_bytes:
                        raise ProviderPagingError(f"No end after {config.max_bytes} bytes: check the file.")
                    yield found
    unpacker.finish()
    if inner is not None:
        inner.finish()
    elif beginning:
        yield beginning
