"""Asks a process by HTTP whether it is ready."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

__all__ = ["get_json", "is_healthy"]


async def is_healthy(url: str, timeout: float = 2.0) -> bool:
    """Whether GET `url` answers 200 in time."""
    return (await _get(url, timeout))[0] == 200


async def get_json(url: str, timeout: float = 2.0) -> dict[str, Any]:
    """The JSON object of a GET that answers 200; empty for any other answer."""
    status, body = await _get(url, timeout)
    try:
        found = json.loads(body) if status == 200 else {}
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}


async def _get(url: str, timeout: float) -> tuple[int, bytes]:
    # By socket: importing an HTTP client would make every start slower.
    parts = urlsplit(url)
    request = f"GET {parts.path} HTTP/1.0\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                writer.write(request.encode())
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
                return int(head.split(b" ")[1]), body
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError, IndexError):
        return 0, b""
