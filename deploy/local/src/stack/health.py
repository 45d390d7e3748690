"""Asks a process whether it is ready."""

import asyncio
from urllib.parse import urlsplit

__all__ = ["is_healthy"]


async def is_healthy(url: str, timeout: float = 2.0) -> bool:
    """Whether GET `url` answers 200 in time. Plain sockets: an HTTP client is a heavy import for one line."""
    parts = urlsplit(url)
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                writer.write(request.encode())
                return (await reader.readline()).split(b" ")[1:2] == [b"200"]
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return False
