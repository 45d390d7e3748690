"""A process that is asked to end serves to the last request, sends its clients elsewhere, and is gone in time."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from random import Random
from uuid import uuid4

import httpx
import psycopg
import pytest

from catalog.settings import CatalogSettings
from tests.fixtures import checked
from tests.fixtures.catalog import Auth
from tests.fixtures.databases import dsn
from tests.fixtures.processes import Process, environment_of, run_process, until_healthy
from tests.fixtures.waiting import eventually

# Long enough that a busy machine looks at it in time.
DRAIN = 2.0
# uvicorn ends itself by the signal that it was sent; SIGINT we take for a normal end.
WELL = (-signal.SIGTERM, 0)
BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'catalog_svc' AND wait_event = 'relation'"


@contextmanager
def serving(settings: CatalogSettings) -> Iterator[Process]:
    more = {"DRAIN_SECONDS": str(DRAIN), "LOG_LEVEL": "warning"}
    with run_process("catalog", "serve", environment_of(settings) | more) as process:
        yield until_healthy(process)


@pytest.fixture
def server(catalog_settings: CatalogSettings) -> Iterator[Process]:
    with serving(catalog_settings) as started:
        yield started


@pytest.fixture
async def client(server: Process, auth_process: Auth) -> AsyncIterator[httpx.AsyncClient]:
    async with checked.AsyncClient(base_url=server.url, headers=auth_process.sync, timeout=30) as client:
        yield client


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGTERM], [signal.SIGTERM, signal.SIGTERM], [signal.SIGTERM, signal.SIGINT], [signal.SIGINT]],
    ids=lambda signals: "+".join(it.name for it in signals),
)
async def test_requests_in_flight_are_finished(
    client: httpx.AsyncClient, server: Process, catalog_settings: CatalogSettings, signals: list[signal.Signals]
) -> None:
    with psycopg.connect(dsn(catalog_settings)) as holder, psycopg.connect(dsn(catalog_settings)) as watch:
        watch.autocommit = True
        holder.execute("LOCK TABLE catalog.imports")
        urls = [f"/internal/imports/slow-{number}/runs/{uuid4()}" for number in range(3)]
        slow = [asyncio.create_task(client.put(url, json={"fence": 1})) for url in urls]
        await eventually(lambda: watch.execute(BLOCKED).fetchone() == (3,))
        began = time.monotonic()
        server.process.send_signal(signals[0])
        if signals[0] is signal.SIGTERM:
            await eventually(lambda: server.status() == 503)
            answer = await client.get("/products")
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        for number in signals[1:]:
            server.process.send_signal(number)
        await eventually(lambda: server.status() is None)
        if signals == [signal.SIGTERM]:
            assert time.monotonic() - began >= DRAIN
        assert not any(task.done() for task in slow)
        assert server.process.poll() is None
        holder.rollback()
        answers = await asyncio.gather(*slow)
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert {answer.headers["connection"] for answer in answers} == {"close"}
    await eventually(server.ended)
    assert server.process.returncode in WELL


@pytest.mark.parametrize("rounds", [2, pytest.param(50, marks=pytest.mark.chaos)])
async def test_at_random_instants_nobody_is_cut_off(
    catalog_settings: CatalogSettings, auth_process: Auth, rounds: int
) -> None:
    """Busy clients on kept connections, readers and writers, until an answer closes their connection."""
    seed = Random().getrandbits(32)
    random = Random(seed)
    print(f"seed {seed}")
    for _ in range(rounds):
        with serving(catalog_settings) as server:
            names = [f"drained {uuid4()}" for _ in range(2)]
            clients = [asyncio.create_task(busy(server.url, auth_process.admin, name)) for name in [*names, "", ""]]
            await asyncio.sleep(random.uniform(0, 0.7))
            # One signal: a second one ends the drain, and with it connections that wait for their next request.
            server.process.send_signal(signal.SIGTERM)
            written = await asyncio.gather(*clients)
            await eventually(server.ended)
            assert server.process.returncode in WELL
        with psycopg.connect(dsn(catalog_settings)) as connection:
            kept = [
                connection.execute("SELECT count(*) FROM catalog.products WHERE name = %s", [name]).fetchone()
                for name in names
            ]
        assert kept == [(count,) for count in written[:2]]


async def busy(url: str, headers: dict[str, str], name: str) -> int:
    """Read, or write products called `name`, until an answer closes the connection; how many were answered."""
    answered = 0
    body = {"name": name, "description": "", "price": 1, "category": "drain"}
    async with checked.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        while True:
            answer = await (client.post("/products", json=body) if name else client.get("/products"))
            assert answer.status_code == (201 if name else 200), answer.text
            answered += 1
            if answer.headers.get("connection") == "close":
                return answered
