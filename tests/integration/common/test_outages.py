"""A dead or frozen PostgreSQL gives 503 problem+json within a second, and service again at once when it is back."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from catalog.app import build
from catalog.settings import CatalogSettings
from common.web.database import Database
from stack.servers.postgres import PostgresServer
from stack.servers.valkey import ValkeyServer
from tests.fixtures.databases import migrate
from tests.fixtures.every_way import EveryWay
from tests.fixtures.service import serving
from tests.fixtures.stack import folder

# The promise is 1 s; a busy machine may schedule us late. Without deadlines of our own it would be 10 s and more.
SLOWEST = 15.0
BACK_WITHIN = 60.0


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server that the test may freeze and kill."""
    with folder() as run_dir, PostgresServer(run_dir, options={"fsync": "off"}) as server:
        yield server


@pytest.fixture
async def client(own_postgres: PostgresServer, valkey_url: str) -> AsyncIterator[httpx.AsyncClient]:
    url = own_postgres.url("catalog")
    migrate("catalog", url)
    settings = CatalogSettings.model_validate({"database_url": url, "redis_url": valkey_url})
    async with serving(build(settings)) as client:
        yield client


def family(server: PostgresServer) -> list[psutil.Process]:
    postmaster = psutil.Process(int(server._pid_file()[0]))
    return [postmaster, *postmaster.children(recursive=True)]


async def burst(client: httpx.AsyncClient) -> list[tuple[int, float]]:
    """30 reads at once, more than there are connections: (status, seconds) of each."""

    async def one(path: str) -> tuple[int, float]:
        began = time.perf_counter()
        answer = await client.get(path)
        if answer.status_code == 503:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["retry-after"] == "1"
            assert answer.json()["request_id"]
        return answer.status_code, time.perf_counter() - began

    return await asyncio.gather(*(one(path) for path in ["/products", "/products/1"] * 15))


async def until_served(client: httpx.AsyncClient) -> float:
    began = time.perf_counter()
    # /health may say for a second what it saw last.
    while {(await client.get(path)).status_code for path in ("/products", "/health")} != {200}:
        assert time.perf_counter() - began < BACK_WITHIN, "not served again in time"
        await asyncio.sleep(0.02)
    return time.perf_counter() - began


async def test_frozen(client: httpx.AsyncClient, own_postgres: PostgresServer) -> None:
    assert (await client.get("/products")).status_code == 200
    for _ in range(2):
        frozen = family(own_postgres)
        for process in frozen:
            process.suspend()
        try:
            for _ in range(2):
                answers = await burst(client)
                assert {status for status, _ in answers} == {503}
                assert max(seconds for _, seconds in answers) < SLOWEST, sorted(seconds for _, seconds in answers)
            assert (await client.get("/health")).status_code == 503
            assert (await client.get("/livez")).status_code == 200
        finally:
            for process in frozen:
                process.resume()
        await until_served(client)


async def test_killed_and_started_again(client: httpx.AsyncClient, own_postgres: PostgresServer) -> None:
    assert {status for status, _ in await burst(client)} == {200, 404}
    killed = family(own_postgres)
    for process in killed:
        process.kill()
    psutil.wait_procs(killed, 5)
    for _ in range(2):
        answers = await burst(client)
        assert {status for status, _ in answers} == {503}
        assert max(seconds for _, seconds in answers) < SLOWEST, sorted(seconds for _, seconds in answers)
    with PostgresServer(own_postgres.run_dir.path, port=own_postgres.port, options={"fsync": "off"}):
        await until_served(client)
        assert {status for status, _ in await burst(client)} == {200, 404}


async def test_redis_away_never_fails_a_read(
    tmp_path: Path, own_postgres: PostgresServer, client: httpx.AsyncClient
) -> None:
    with ValkeyServer(tmp_path / "valkey") as server:
        url, dsn = server.url(), own_postgres.url("catalog")
    settings = CatalogSettings.model_validate({"database_url": dsn, "redis_url": url})
    async with serving(build(settings)) as lonely:
        answers = await burst(lonely)
        assert {status for status, _ in answers} == {200, 404}
        # There is no auth either, whose keys a process that has just started waits for.
        while (answer := await lonely.get("/health")).status_code != 200:
            assert answer.json()["detail"].startswith("keys: the keys that verify tokens are not fetched yet")
        health = answer.json()
        assert health["status"] == "degraded"
        assert health["checks"]["redis"]["status"] == "failed"


async def test_not_ready_before_the_schema_is_there(own_postgres: PostgresServer, valkey_url: str) -> None:
    settings = CatalogSettings.model_validate({"database_url": own_postgres.url("catalog"), "redis_url": valkey_url})
    async with serving(build(settings)) as client:
        answer = await client.get("/health")
        assert answer.status_code == 503
        assert "python -m catalog migrate" in answer.json()["detail"]
        assert (await client.get("/products")).status_code == 503
        migrate("catalog", own_postgres.url("catalog"))
        await until_served(client)
        deadline = time.monotonic() + BACK_WITHIN
        while (await client.get("/health")).status_code != 200:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


@asynccontextmanager
async def selecting(db: EveryWay, way: str) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """A transaction, and what runs a statement in it."""
    if way == "transaction":
        async with db.transaction() as transaction:
            yield lambda: transaction.fetch("SELECT 1")
    else:
        async with db.write_session() as session:
            yield lambda: session.scalar(text("SELECT 1"))


@pytest.mark.parametrize("way", ["transaction", "session"])
async def test_a_job_outside_a_request_does_not_wait_forever(
    own_postgres: PostgresServer, valkey_url: str, way: str
) -> None:
    settings = CatalogSettings.model_validate({"database_url": own_postgres.url("catalog"), "redis_url": valkey_url})
    frozen: list[psutil.Process] = []

    async def job(db: EveryWay) -> None:
        async with selecting(db, way) as select:
            assert await select()
            frozen.extend(family(own_postgres))
            for process in frozen:
                process.suspend()
            await asyncio.wait_for(select(), SLOWEST)

    async with EveryWay(settings, application="test", max_wait=0.5) as db:
        try:
            with pytest.raises((psycopg.OperationalError, OperationalError)):
                await job(db)
        finally:
            for process in frozen:
                process.resume()


async def test_a_transaction_begins_anew_on_a_connection_that_died_unused(
    own_postgres: PostgresServer, valkey_url: str
) -> None:
    settings = CatalogSettings.model_validate({"database_url": own_postgres.url("catalog"), "redis_url": valkey_url})
    backends: list[int] = []

    async def two_statements(db: Database, *, kill: bool) -> None:
        async with db.transaction() as transaction:
            for _ in range(2):
                ((backend,),) = await transaction.fetch("SELECT pg_backend_pid()")
                backends.append(backend)
                if kill:
                    terminate(backend)

    async with Database(settings, application="test") as db:
        await two_statements(db, kill=False)
        terminate(backends[0])
        await two_statements(db, kill=False)
        with pytest.raises(psycopg.OperationalError):
            # What the first statement did is lost, so the second one is not tried again.
            await two_statements(db, kill=True)
        await two_statements(db, kill=False)
    first, second, killed, last = backends[:2], backends[2:4], backends[4:5], backends[5:]
    assert [len(set(each)) for each in (first, second, killed, last)] == [1, 1, 1, 1]
    assert first[0] not in second + last
    assert killed[0] not in last
    assert len(last) == 2


def terminate(backend: int) -> None:
    process = psutil.Process(backend)
    process.terminate()
    psutil.wait_procs([process], 10)
