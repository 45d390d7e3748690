"""A closed-loop HTTP/1.1 load generator: N keep-alive connections, each sends when its answer is in.

    python -m tests.load.client '{"port": 8000, "seconds": 2, "connections": 16, "request": {"path": "/products/{id}"}}'

`{id}` in a request is a random one of its ids, `{cursor}` the cursor of the page after that id, `{n}` another number
each time. Prints one JSON object: requests, errors, seconds, p50_ms, p99_ms. With `writes`, four more connections send
that request so many times a second altogether; they are not counted, but their errors are. It runs in a process of its
own and talks to 127.0.0.1 alone.
"""

import asyncio
import base64
import itertools
import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Self, cast

import uvloop

# Requests are written before the clock starts; so many for a second, and then the first ones again.
PREPARED = 20_000
WRITERS = 4


@dataclass(frozen=True)
class Request:
    """What is sent, and the status that is expected. `ids` are start, stop and step of a range."""

    path: str
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    status: int = 200
    ids: tuple[int, int, int] = (1, 2, 1)

    def prepared(self, seconds: float) -> list[bytes]:
        """This request as bytes, many times, each with a random id."""
        headers = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        head, body, ids = (
            f"{self.method} {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}",
            self.body,
            range(*self.ids),
        )
        if not any(mark in f"{head}{body}" for mark in ("{id}", "{cursor}", "{n}")):
            return [_rendered(head, body, 0)]
        return [_rendered(head, body, random.choice(ids)) for _ in range(round(PREPARED * seconds))]


def _rendered(head: str, body: str | None, chosen: int) -> bytes:
    cursor = base64.urlsafe_b64encode(b"id:%d" % chosen).decode().rstrip("=")
    head = head.replace("{id}", str(chosen)).replace("{cursor}", cursor)
    if body is None:
        return f"{head}\r\n".encode()
    body = body.replace("{n}", str(random.randrange(1_000_000)))
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@dataclass(frozen=True)
class Load:
    """One measurement of one server."""

    port: int
    seconds: float
    connections: int
    request: Request
    writes: Request | None = None
    writes_per_second: float = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        values: dict[str, Any] = json.loads(text)
        writes = values.pop("writes", None)
        return cls(
            **values | {"request": Request(**values["request"]), "writes": Request(**writes) if writes else None}
        )

    def __str__(self) -> str:
        return json.dumps(asdict(self))


class Connection(asyncio.Protocol):
    """A keep-alive connection; answers have a length or come in chunks. `interval` is the time between two requests."""

    def __init__(self, requests: Iterator[bytes], status: int, stop_at: float, interval: float = 0) -> None:
        self.requests, self.status, self.stop_at, self.interval = requests, b"HTTP/1.1 %d " % status, stop_at, interval
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self.loop.create_future()
        self.latencies: list[float] = []
        self.errors = 0
        self.buffer = b""
        self.need = -1
        self.chunked = False
        self.due = self.loop.time() - random.random() * interval

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.send_next()

    def send(self) -> None:
        if time.perf_counter() >= self.stop_at:
            self.transport.close()
            return
        self.sent = time.perf_counter()
        self.transport.write(next(self.requests))

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.need < 0:
            head, separator, _ = self.buffer.partition(b"\r\n\r\n")
            if not separator:
                return
            self.errors += not head.startswith(self.status)
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            self.chunked = not length and not head.startswith(b"HTTP/1.1 304")
            self.need = len(head) + 4 + int(length or 0)
        if len(self.buffer) >= self.need and (not self.chunked or self.buffer.endswith(b"\r\n0\r\n\r\n")):
            self.latencies.append(time.perf_counter() - self.sent)
            self.buffer, self.need = b"", -1
            self.send_next()

    def send_next(self) -> None:
        if self.interval:
            self.due += self.interval
            self.loop.call_at(self.due, self.send)
        else:
            self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        self.errors += time.perf_counter() < self.stop_at
        self.done.set_result(None)


async def run(load: Load) -> dict[str, float]:
    """Load http://127.0.0.1:`load.port` and report."""
    reads, writes = itertools.cycle(load.request.prepared(load.seconds)), load.writes
    changes = itertools.cycle(writes.prepared(load.seconds) if writes else [])
    began = time.perf_counter()
    stop_at = began + load.seconds
    readers = [Connection(reads, load.request.status, stop_at) for _ in range(load.connections)]
    writers = [
        Connection(changes, writes.status, stop_at, WRITERS / load.writes_per_second)
        for _ in range(WRITERS)
        if writes is not None
    ]
    for connection in (*readers, *writers):
        await connection.loop.create_connection(lambda made=connection: made, "127.0.0.1", load.port)  # type: ignore[misc]
    await asyncio.gather(*(connection.done for connection in readers))
    took = time.perf_counter() - began
    await asyncio.gather(*(connection.done for connection in writers))
    latencies = sorted(latency for connection in readers for latency in connection.latencies)
    return {
        "requests": len(latencies),
        "errors": sum(connection.errors for connection in (*readers, *writers)),
        "seconds": took,
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[len(latencies) * 99 // 100] * 1000,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(Load.parse(sys.argv[1])))))
