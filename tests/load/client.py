"""A closed-loop HTTP/1.1 load generator: N keep-alive connections, each sends when its answer is in.

    python -m tests.load.client PORT SECONDS CONNECTIONS PATH_TEMPLATE [HIGHEST_ID]

`{id}` in the path is a random number up to HIGHEST_ID. Prints one JSON object: requests, errors, seconds, p50_ms,
p99_ms. It runs in a process of its own and talks to 127.0.0.1 alone.
"""

import asyncio
import json
import random
import sys
import time
from typing import cast

import uvloop


class Connection(asyncio.Protocol):
    """One keep-alive connection; answers are framed by Content-Length."""

    def __init__(self, path: str, highest: int, stop_at: float, latencies: list[float]) -> None:
        self.path, self.highest, self.stop_at, self.latencies = path, highest, stop_at, latencies
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.errors = 0
        self.buffer = b""
        self.need = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.send()

    def send(self) -> None:
        if time.perf_counter() >= self.stop_at:
            self.transport.close()
            return
        path = self.path.replace("{id}", str(random.randint(1, self.highest)))
        self.sent = time.perf_counter()
        self.transport.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.need < 0:
            head, separator, _ = self.buffer.partition(b"\r\n\r\n")
            if not separator:
                return
            self.errors += not head.startswith(b"HTTP/1.1 200")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            self.need = len(head) + 4 + int(length)
        if len(self.buffer) >= self.need:
            self.latencies.append(time.perf_counter() - self.sent)
            self.buffer, self.need = b"", -1
            self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        self.errors += time.perf_counter() < self.stop_at
        self.done.set_result(None)


async def run(port: int, seconds: float, connections: int, path: str, highest: int) -> dict[str, float]:
    """Load http://127.0.0.1:`port` for `seconds` and report."""
    loop, latencies = asyncio.get_running_loop(), list[float]()
    began = time.perf_counter()
    made = [
        (
            await loop.create_connection(
                lambda: Connection(path, highest, began + seconds, latencies), "127.0.0.1", port
            )
        )[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(connection.done for connection in made))
    took = time.perf_counter() - began
    latencies.sort()
    return {
        "requests": len(latencies),
        "errors": sum(connection.errors for connection in made),
        "seconds": took,
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[len(latencies) * 99 // 100] * 1000,
    }


if __name__ == "__main__":
    port, seconds, connections, path, *highest = sys.argv[1:]
    report = uvloop.run(run(int(port), float(seconds), int(connections), path, int((highest or ["1"])[0])))
    print(json.dumps(report))
