"""HTTP servers on this machine, each a function, for providers that must speak over real sockets."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx

__all__ = ["Asked", "Loopback", "answer", "serving"]


class Asked(NamedTuple):
    """One request as the server saw it."""

    method: str
    url: httpx.URL
    headers: httpx.Headers
    body: bytes

    @property
    def params(self) -> dict[str, str]:
        return dict(self.url.params)


class Loopback(NamedTuple):
    """A server: its address, and all that it was asked."""

    url: str
    requests: list[Asked]

    def __call__(self, path: str) -> str:
        return self.url + path


Handler = Callable[[Asked], httpx.Response]


def answer(value: Any, *, status: int = 200, packed: bool = False, **headers: str) -> httpx.Response:
    """JSON; `link="..."` becomes a header."""
    body = json.dumps(value).encode()
    if packed:
        body, headers = gzip.compress(body, mtime=0), headers | {"content_encoding": "gzip"}
    return httpx.Response(
        status, content=body, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


@asynccontextmanager
async def serving(handler: Handler, host: str = "127.0.0.1") -> AsyncIterator[Loopback]:
    """A server that answers each request by `handler`, one per connection."""
    requests: list[Asked] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = await _read(reader)
            requests.append(asked)
            await _write(writer, handler(asked))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, host, 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield Loopback(f"http://{f'[{host}]' if ':' in host else host}:{port}", requests)


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = httpx.Headers(dict(line.split(": ", 1) for line in head[1:] if line))
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Asked(method, httpx.URL(f"http://{headers['host']}{target}"), headers, body)


async def _write(writer: asyncio.StreamWriter, response: httpx.Response) -> None:
    body = b"".join([chunk async for chunk in _raw(response)])
    lines = [f"HTTP/1.1 {response.status_code} ."]
    lines += [f"{name}: {text}" for name, text in response.headers.items() if name not in {"content-length"}]
    lines += [f"content-length: {len(body)}", "connection: close", "", ""]
    writer.write("\r\n".join(lines).encode("latin-1") + body)
    await writer.drain()


async def _raw(response: httpx.Response) -> AsyncIterator[bytes]:
    async for chunk in response.stream:  # type: ignore[union-attr]
        yield chunk
