"""Sync with everything real around it: database, Valkey, auth, catalog, and its own processes."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import psycopg
import pytest
import redis

from catalog.settings import CatalogSettings
from common import migrations
from stack.ports import Ports
from stack.servers.valkey import ValkeyServer
from sync.settings import SyncSettings
from tests.fixtures.catalog import Auth
from tests.fixtures.databases import role_url
from tests.fixtures.processes import SECRET
from tests.fixtures.stack import folder
from tests.fixtures.waiting import until

Make = Callable[..., SyncSettings]


@dataclass
class Feed:
    """An external API in a thread. `before` is called with each `skip` and may wait, raise or answer otherwise."""

    url: str = ""
    products: list[dict[str, Any]] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    before: Callable[[int], tuple[int, bytes] | None] = lambda skip: None

    def fill(self, count: int) -> None:
        self.products = [product(number) for number in range(1, count + 1)]

    def asked_more_than(self, times: int) -> bool:
        return len(self.asked) > times

    def answer(self, target: str) -> tuple[int, bytes]:
        query = parse_qs(urlsplit(target).query)
        limit, skip = int(query["limit"][0]), int(query["skip"][0])
        self.asked.append(skip)
        if told := self.before(skip):
            return told
        page = self.products[skip : skip + limit]
        body = {"products": page, "total": len(self.products), "skip": skip, "limit": len(page)}
        return 200, json.dumps(body).encode()


def product(number: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "title": f"Product {number}", "price": 9.99, "category": "things"} | more


@pytest.fixture
def feed() -> Iterator[Feed]:
    """194 products, in pages."""
    source = Feed()
    source.fill(194)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = source.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            # Who asked may have been killed meanwhile.
            with suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    source.url = f"http://127.0.0.1:{server.server_port}/products"
    yield source
    server.shutdown()
    server.server_close()


class Gate:
    """Holds the feed at a page until it is opened."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.reached = Event()
        self.opened = Event()

    def __call__(self, skip: int) -> tuple[int, bytes] | None:
        if skip == self.at:
            self.reached.set()
            self.opened.wait(60)
        return None


@pytest.fixture(scope="session")
def sync_database(postgres: str) -> str:
    """The URL of sync_svc, its schema at head."""
    url = role_url(postgres, "sync")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", url)
        migrations.upgrade("sync")
    return url


@pytest.fixture
def rows(sync_database: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to sync's empty tables."""
    with psycopg.connect(sync_database, autocommit=True) as connection:
        connection.execute("TRUNCATE sync.runs, sync.sources")
        yield connection


@pytest.fixture
def valkey(valkey_url: str) -> Iterator["redis.Redis"]:
    """A connection to an empty Valkey."""
    with redis.Redis.from_url(valkey_url) as connection:
        connection.flushall()
        yield connection


@pytest.fixture
def own_valkey() -> Iterator[ValkeyServer]:
    """A Valkey that the test starts and stops."""
    with folder() as run_dir:
        yield ValkeyServer(run_dir)


@pytest.fixture
def settings_of(sync_database: str, valkey_url: str, rows: Any, valkey: Any) -> Make:
    """Settings of a sync with nothing in it."""

    def make(**values: Any) -> SyncSettings:
        known = {"database_url": sync_database, "redis_url": valkey_url, "sync_client_secret": SECRET}
        return SyncSettings(**known | values)

    return make


@pytest.fixture(scope="session")
def catalog_process(catalog_settings: CatalogSettings) -> Iterator[str]:
    """The URL of a catalog that is a process of its own."""
    ports = Ports()
    port, metrics = ports.pick(), ports.pick()
    environment = os.environ | {
        "DATABASE_URL": catalog_settings.database_url.get_secret_value(), "PORT": str(port),
        "METRICS_PORT": str(metrics), "REDIS_URL": catalog_settings.redis_url.get_secret_value(),
        "AUTH_URL": catalog_settings.auth_url, "LOG_LEVEL": "warning",
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "catalog", "serve"], env=environment)
    until(lambda: _healthy(f"http://127.0.0.1:{port}"))
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(15)


@pytest.fixture
def products(catalog_settings: CatalogSettings) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the catalog's empty tables."""
    with psycopg.connect(catalog_settings.database_url.get_secret_value(), autocommit=True) as connection:
        for table in ("products", "product_counts", "imports", "import_rows", "import_rejects"):
            connection.execute(f"DELETE FROM catalog.{table}")
        yield connection


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200  # unchecked: workers too
    except httpx.TransportError:
        return False


@dataclass
class Process:
    """A process of sync."""

    process: subprocess.Popen[bytes]
    metrics: str
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def figure(self, name: str) -> float:
        """The value of a sample such as `products_sync_runs_total{...}`; 0 if there is none."""
        for line in httpx.get(f"{self.metrics}/metrics").text.splitlines():  # unchecked: metrics
            if line.startswith(name + " "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def healthy(self) -> bool:
        return _healthy(self.metrics)


@dataclass
class Launch:
    """Starts processes of sync against the feed, auth and a catalog."""

    environment: dict[str, str]
    folder: Path
    running: list[Process] = field(default_factory=list)

    def __call__(self, command: str, **more: str) -> Process:
        port = str(Ports().pick())
        log = self.folder / f"{command}-{len(self.running)}.log"
        environment = os.environ | self.environment | {"METRICS_PORT": port, "LOG_FORMAT": "json"} | more
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "sync", command], env=environment, stdout=output, stderr=output
            )
        self.running.append(Process(process, f"http://127.0.0.1:{port}", log))
        return self.running[-1]


@pytest.fixture
def launch(
    sync_database: str,
    valkey_url: str,
    auth_process: Auth,
    catalog_process: str,
    products: Any,
    rows: Any,
    valkey: Any,
    feed: Feed,
    tmp_path: Path,
) -> Iterator[Launch]:
    launcher = Launch(
        {
            "DATABASE_URL": sync_database,
            "REDIS_URL": valkey_url,
            "AUTH_URL": auth_process.url,
            "CATALOG_URL": catalog_process,
            "SYNC_CLIENT_SECRET": SECRET,
            "EXTERNAL_API_URL": feed.url,
        },
        tmp_path,
    )
    yield launcher
    for process in launcher.running:
        process.process.kill()
        process.process.wait(10)


async def eventually(condition: Callable[[], object], timeout: float = 5.0) -> None:
    """`until`, for tests that serve what they wait for."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
