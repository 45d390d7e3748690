"""Prometheus: what runs, and the port of its own on which each process serves its metrics."""

import threading
from collections.abc import Callable, Iterable
from typing import Any, cast
from wsgiref.simple_server import WSGIRequestHandler, make_server

import msgspec
from prometheus_client import Gauge, disable_created_metrics, exposition
from prometheus_client.exposition import ThreadingWSGIServer

from common import __version__

__all__ = ["serve", "set_build_info"]

Answer = tuple[int, dict[str, Any]]

# A third of all series would be the moment when another was made.
disable_created_metrics()  # type: ignore[no-untyped-call]
BUILD_INFO = Gauge("products_build_info", "Always 1; its labels say what runs.", ["service", "version"])


def set_build_info(service: str) -> None:
    BUILD_INFO.labels(service, __version__).set(1)


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not news."""


def serve(host: str, port: int, routes: dict[str, Callable[[], Answer]] | None = None) -> Callable[[], None]:
    """Serve /metrics, and `routes` of (status, JSON) answers, from a thread; returns what stops it."""
    metrics = exposition.make_wsgi_app()

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return cast(Iterable[bytes], metrics(environ, start_response))
        answer = (routes or {}).get(path)
        status, body = answer() if answer else (404, {"type": "about:blank", "title": "Not Found", "status": 404})
        kind = "application/json" if status < 400 else "application/problem+json"
        start_response(f"{status} ", [("Content-Type", kind), ("Cache-Control", "no-store")])
        return [msgspec.json.encode(body)]

    server = make_server(host, port, app, ThreadingWSGIServer, handler_class=_QuietHandler)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server.shutdown
