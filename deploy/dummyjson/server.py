"""Serves the products of DummyJSON as DummyJSON does, without a network: `PORT=8080 python server.py`."""

import base64
import hashlib
import json
import math
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["Handler", "Products", "Response", "serve"]

DATA = Path(__file__).with_name("products.json")
Response = tuple[int, dict[str, Any]]


class Products:
    """The products, and the two kinds of request for them that DummyJSON answers."""

    def __init__(self, file: Path = DATA) -> None:
        self.items: list[dict[str, Any]] = json.loads(file.read_bytes())
        self._by_id = {str(product["id"]): product for product in self.items}

    def get(self, target: str) -> Response:
        """Status and body for a request target such as /products?limit=10."""
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        match parts.path.rstrip("/").split("/"):
            case ["", "products"]:
                return self._page(query)
            case ["", "products", product_id]:
                return self._one(unquote(product_id), query.get("select"))
            case _:
                return 404, {"message": "Not Found"}

    def _page(self, query: dict[str, str]) -> Response:
        limit, skip = _count(query.get("limit", "30")), _count(query.get("skip", "0"))
        if limit is None:
            return 400, {"message": "Invalid 'limit' - must be a number"}
        if skip is None:
            return 400, {"message": "Invalid 'skip' - must be a number"}
        page = self.items[skip : skip + limit if limit else None]
        products = [_selected(product, query.get("select")) for product in page]
        return 200, {"products": products, "total": len(self.items), "skip": skip, "limit": len(page)}

    def _one(self, product_id: str, select: str | None) -> Response:
        product = self._by_id.get(product_id)
        if product is None:
            return 404, {"message": f"Product with id '{product_id}' not found"}
        return 200, _selected(product, select)


class Handler(BaseHTTPRequestHandler):
    """HTTP for `products`: keep-alive, HEAD, weak ETag and 304."""

    protocol_version = "HTTP/1.1"
    server_version = "dummyjson"
    timeout = 75
    products: Products

    def do_GET(self) -> None:
        status, body = self.products.get(self.path)
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        digest = base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()[:27]
        etag = f'W/"{len(content):x}-{digest}"'
        if status == 200 and _matches(self.headers.get("If-None-Match"), etag):
            status, content = 304, b""
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("ETag", etag)
        if status != 304:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """No access log: the sync service logs what it fetches."""


def serve(port: int, host: str = "127.0.0.1") -> None:
    """Serve until SIGTERM."""
    Handler.products = Products()
    server = ThreadingHTTPServer((host, port), Handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"serving {len(Handler.products.items)} products of DummyJSON on http://{host}:{port}/products", flush=True)
    with server:
        server.serve_forever()


def _count(text: str) -> int | None:
    """A number as DummyJSON reads it: not negative, its fraction ignored; None for anything else."""
    try:
        number = float(text or 0)
    except ValueError:
        return None
    return int(number) if math.isfinite(number) and number >= 0 else None


def _selected(product: dict[str, Any], select: str | None) -> dict[str, Any]:
    names = ["id", *select.split(",")] if select else list(product)
    return {name: product[name] for name in names if name in product}


def _matches(header: str | None, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in (header or "").split(",")]
    return etag.removeprefix("W/") in tags or tags == ["*"]


if __name__ == "__main__":
    serve(int(os.environ.get("PORT", "8080")), os.environ.get("HOST", "127.0.0.1"))
