"""What uvicorn alone can do: an ASGI application that answers with the bytes of BARE_PRODUCT and BARE_PAGE (paths)."""

import os
from pathlib import Path
from typing import Any

PRODUCT, PAGE = (Path(os.environ[name]).read_bytes() for name in ("BARE_PRODUCT", "BARE_PAGE"))


def _events(status: int, body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    headers = [(b"cache-control", b"no-cache"), (b"etag", b'"1-1"')]
    if body:
        headers += [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
    start = {"type": "http.response.start", "status": status, "headers": headers}
    return start, {"type": "http.response.body", "body": body}


ONE, LIST, UNCHANGED = _events(200, PRODUCT), _events(200, PAGE), _events(304, b"")


async def app(scope: Any, receive: Any, send: Any) -> None:
    conditional = any(name == b"if-none-match" for name, _ in scope["headers"])
    for event in LIST if scope["path"] == "/products" else UNCHANGED if conditional else ONE:
        await send(event)
