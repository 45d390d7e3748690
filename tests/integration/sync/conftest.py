"""Sync with everything real around it: database, Valkey, auth, catalog, and its own processes."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
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
from common.postgres import Postgres
from stack.servers.valkey import ValkeyServer
from sync import runs, sources
from sync.app import build
from sync.runs import RunRow
from sync.settings import SyncSettings
from sync.states import WORKING
from tests.fixtures.catalog import Auth, empty
from tests.fixtures.databases import Database, dsn
from tests.fixtures.processes import SECRET, Process, Start, environment_of, run_process, until_healthy
from tests.fixtures.service import serving
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
        if scripted := self.before(skip):
            return scripted
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


HOSTILE = """
import os, time
class Hangs:
    name = "hangs"
    def __init__(self, config): pass
    async def pages(self, cursor=None):
        time.sleep(1000)
        yield
    async def validate(self): pass
    async def aclose(self): pass
class Leaves(Hangs):
    name = "leaves"
    async def pages(self, cursor=None):
        os._exit(0)
        yield
class Fills(Hangs):
    name = "fills"
    async def pages(self, cursor=None):
        print("noise" * 1000)
        b"x" * 2**33
        yield
"""


def install_hostile_providers(folder: Path) -> None:
    """The package `hostile` with the providers `hangs`, `leaves` and `fills`, for a PYTHONPATH with `folder`."""
    info = folder / "hostile-1.dist-info"
    info.mkdir(parents=True)
    (folder / "hostile.py").write_text(HOSTILE)
    (info / "METADATA").write_text("Name: hostile\nVersion: 1\n")
    points = "\n".join(f"{name.lower()} = hostile:{name}" for name in ("Hangs", "Leaves", "Fills"))
    (info / "entry_points.txt").write_text(f"[products.providers]\n{points}\n")


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
def sync_database(database: Database) -> str:
    """The URL of sync_svc, its schema at head."""
    return database("sync")


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


async def requested(db: Postgres, settings: SyncSettings) -> RunRow:
    """The run that answers a request for the source of the settings."""
    await sources.register(db, settings)
    return await runs.request(db, settings.source)


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
    with run_process("catalog", "serve", environment_of(catalog_settings) | {"LOG_LEVEL": "warning"}) as process:
        yield until_healthy(process).url


@pytest.fixture
def products(catalog_settings: CatalogSettings) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the catalog's empty tables."""
    with psycopg.connect(dsn(catalog_settings), autocommit=True) as connection:
        empty(connection)
        yield connection


@dataclass
class Launch:
    """Starts processes of sync against the feed, auth and a catalog."""

    start: Start
    settings: dict[str, str]
    running: list[Process] = field(default_factory=list)

    def __call__(self, command: str, **more: str) -> Process:
        self.running.append(self.start("sync", command, self.settings | more))
        return self.running[-1]


@pytest.fixture
def launch(
    start: Start,
    sync_database: str,
    valkey_url: str,
    auth_process: Auth,
    catalog_process: str,
    products: Any,
    rows: Any,
    valkey: Any,
    feed: Feed,
) -> Iterator[Launch]:
    launcher = Launch(
        start,
        {
            "DATABASE_URL": sync_database,
            "REDIS_URL": valkey_url,
            "AUTH_URL": auth_process.url,
            "CATALOG_URL": catalog_process,
            "SYNC_CLIENT_SECRET": SECRET,
            "EXTERNAL_API_URL": feed.url,
            "LOG_FORMAT": "json",
        },
    )
    yield launcher
    for process in launcher.running:
        # At once: some are in the middle of a run.
        process.process.kill()


class Admin:
    """An admin's calls to the sync API."""

    def __init__(self, client: httpx.AsyncClient, auth: Auth) -> None:
        self.client = client
        self.auth = auth

    async def call(self, method: str, path: str, status: int = 200, **body: Any) -> Any:
        answer = await self.client.request(method, path, json=body or None, headers=self.auth.admin)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def trigger(self, **body: Any) -> dict[str, Any]:
        """A run to its end, or until an admin has to decide."""
        return await self.ended((await self.call("POST", "/sync/trigger", 202, **body))["run_id"])

    async def ended(self, run_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while (run := await self.call("GET", f"/sync/runs/{run_id}"))["state"] in ("queued", *WORKING):
            assert time.monotonic() < deadline, run
            await asyncio.sleep(0.02)
        return dict(run)


@pytest.fixture
async def admin(
    launch: Launch, settings_of: Make, auth_process: Auth, catalog_process: str, feed: Feed
) -> AsyncIterator[Admin]:
    """With a worker, and the source's first run behind it."""
    until(launch("work").healthy)
    settings = settings_of(auth_url=auth_process.url, catalog_url=catalog_process, external_api_url=feed.url)
    async with serving(build(settings)) as client:
        it = Admin(client, auth_process)
        first = await it.trigger()
        assert (first["state"], first["counts"]["created"]) == ("succeeded", 194), first
        yield it
