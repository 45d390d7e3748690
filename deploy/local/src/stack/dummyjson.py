"""A stand-in of DummyJSON that serves its real products without a network: `python -m stack.dummyjson`."""

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

__all__ = ["Answer", "Catalog", "serve"]

DATA = Path(__file__).with_name("dummyjson-products.json")
Answer = tuple[int, dict[str, Any]]


class Catalog:
    """The products and the two questions that DummyJSON answers about them."""

    def __init__(self, file: Path = DATA) -> None:
        self.products: list[dict[str, Any]] = json.loads(file.read_bytes())
        self._by_id = {str(product["id"]): product for product in self.products}

    def answer(self, target: str) -> Answer:
        """Status and body for a request target such as /products?limit=10."""
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        match parts.path.rstrip("/").split("/"):
            case ["", "products"]:
                return self._page(query)
            case ["", "products", name]:
                return self._one(unquote(name), query.get("select"))
            case _:
                return 404, {"message": "Not Found"}

    def _page(self, query: dict[str, str]) -> Answer:
        limit, skip = _count(query.get("limit", "30")), _count(query.get("skip", "0"))
        if limit is None:
            return 400, {"message": "Invalid 'limit' - must be a number"}
        if skip is None:
            return 400, {"message": "Invalid 'skip' - must be a number"}
        page = self.products[skip : skip + limit if limit else None]
        products = [_subset(product, query.get("select")) for product in page]
        return 200, {"products": products, "total": len(self.products), "skip": skip, "limit": len(page)}

    def _one(self, name: str, select: str | None) -> Answer:
        product = self._by_id.get(name)
        if product is None:
            return 404, {"message": f"Product with id '{name}' not found"}
        return 200, _subset(product, select)


class Handler(BaseHTTPRequestHandler):
    """HTTP around a catalog: keep-alive, HEAD, weak ETag and 304."""

    protocol_version = "HTTP/1.1"
    server_version = "dummyjson"
    timeout = 75
    catalog: Catalog

    def do_GET(self) -> None:
        status, body = self.catalog.answer(self.path)
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
        """Silent: the sync service logs what it fetched."""


def serve(port: int, host: str = "127.0.0.1") -> None:
    """Serve until SIGTERM."""
    Handler.catalog = Catalog()
    server = ThreadingHTTPServer((host, port), Handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"serving {len(Handler.catalog.products)} products of DummyJSON on http://{host}:{port}/products", flush=True)
    with server:
        server.serve_forever()


def _count(text: str) -> int | None:
    """As DummyJSON reads it: any number that is not negative, without its fraction."""
    try:
        number = float(text or 0)
    except ValueError:
        return None
    return int(number) if math.isfinite(number) and number >= 0 else None


def _subset(product: dict[str, Any], select: str | None) -> dict[str, Any]:
    names = ["id", *select.split(",")] if select else list(product)
    return {name: product[name] for name in names if name in product}


def _matches(header: str | None, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in (header or "").split(",")]
    return etag.removeprefix("W/") in tags or tags == ["*"]


if __name__ == "__main__":
    serve(int(os.environ.get("PORT", "8080")))
