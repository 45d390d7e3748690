"""The connections of a process in PostgreSQL: how many, how long, and what a client hears of slow ones."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psycopg
import pytest

from catalog.settings import CatalogSettings
from common.connection import Server
from common.deadlines import start_deadline
from tests.fixtures.catalog import Auth
from tests.fixtures.databases import dsn
from tests.fixtures.every_way import EveryWay
from tests.integration.catalog.test_products import LAPTOP, create, problem_of

COUNT = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
# Both pools of 8, and the connection that asks whether the server is there.
BOUND = 2 * 8 + 1


@asynccontextmanager
async def watch(settings: CatalogSettings, application: str) -> AsyncIterator[dict[str, int]]:
    """Counts the backends of `application` again and again; what it yields has the most that there were."""
    seen = {"most": 0}

    async def count() -> None:
        async with await psycopg.AsyncConnection.connect(dsn(settings), autocommit=True) as connection:
            while True:
                row = await (await connection.execute(COUNT, [application])).fetchone()
                seen["most"] = max(seen["most"], row[0] if row else 0)
                await asyncio.sleep(0.01)

    task = asyncio.create_task(count())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.wait({task})


async def eventually(settings: CatalogSettings, query: str, expected: Any) -> None:
    async with await psycopg.AsyncConnection.connect(dsn(settings), autocommit=True) as connection, asyncio.timeout(30):
        while (found := await (await connection.execute(query)).fetchone()) != expected:
            assert found is not None
            await asyncio.sleep(0.05)


async def test_readers_that_wait_for_a_lock_take_no_more_backends(
    catalog: httpx.AsyncClient, catalog_settings: CatalogSettings
) -> None:
    async with (
        await psycopg.AsyncConnection.connect(dsn(catalog_settings)) as holder,
        watch(catalog_settings, "catalog") as seen,
    ):
        await holder.execute("LOCK TABLE catalog.products IN ACCESS EXCLUSIVE MODE")
        answers = await asyncio.gather(*(catalog.get("/products", timeout=60) for _ in range(40)))
        assert {answer.status_code for answer in answers} == {503}
        await holder.rollback()
    assert 1 <= seen["most"] <= BOUND
    await eventually(catalog_settings, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'", (0,))
    answers = await asyncio.gather(*(catalog.get("/products", timeout=30) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize("way", ["fetch", "transaction", "session"])
async def test_overdue_statements_end_in_postgres_too(catalog_settings: CatalogSettings, way: str) -> None:
    db = EveryWay(catalog_settings, application="slow")
    await db.open()

    async def slow() -> None:
        start_deadline(0.3, 0.6)
        if way == "fetch":
            await db.fetch("SELECT pg_sleep(50)")
        elif way == "transaction":
            async with db.transaction() as transaction:
                await transaction.fetch("SELECT pg_sleep(50)")
        else:
            async with db.write_session() as session:
                await (await session.connection()).exec_driver_sql("SELECT pg_sleep(50)")

    try:
        async with watch(catalog_settings, "slow") as seen:
            for _ in range(3):
                # Twice as many as there are connections; those that wait for one are given up too.
                tasks = [asyncio.create_task(slow()) for _ in range(16 if way == "fetch" else 8)]
                done, _ = await asyncio.wait(tasks, timeout=60)
                assert len(done) == len(tasks)
                assert all(task.exception() for task in tasks)
        assert 1 <= seen["most"] <= BOUND
        active = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(50)' AND state = 'active'"
        await eventually(catalog_settings, active, (0,))
        start_deadline(5, 5)
        assert await db.fetch("SELECT 1") == [(1,)]
    finally:
        await db.close()
    await eventually(catalog_settings, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'slow'", (0,))


async def test_the_server_looks_whether_a_process_is_still_there(catalog_settings: CatalogSettings) -> None:
    db = EveryWay(catalog_settings, application="settings")
    await db.open()
    query = "SELECT name, setting FROM pg_settings WHERE name = ANY (%s) ORDER BY name"
    names = ["client_connection_check_interval", "lock_timeout", "statement_timeout"]
    try:
        assert [row[1] for row in await db.fetch(query, [names])] == ["1000", "3000", "5000"]
        async with db.transaction() as transaction:
            assert [row[1] for row in await transaction.fetch(query, [names])] == ["1000", "3000", "60000"]
        async with db.write_session() as session:
            rows = await (await session.connection()).exec_driver_sql(query, (names,))
            assert [row[1] for row in rows] == ["1000", "3000", "60000"]
    finally:
        await db.close()


async def test_one_slow_statement_is_not_a_server_that_is_gone(
    catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
) -> None:
    """A PUT that waits for a row, alone, for longer than a server may be silent."""
    url = f"/products/{(await create(catalog, auth_process))['id']}"
    async with await psycopg.AsyncConnection.connect(dsn(catalog_settings)) as holder:
        await holder.execute("SELECT FROM catalog.products FOR UPDATE")
        put = asyncio.create_task(catalog.put(url, json={"price": 5}, headers=auth_process.admin))
        done, _ = await asyncio.wait({put}, timeout=1.5)
        assert not done, put.result().text
        await holder.rollback()
        assert (await put).status_code == 200


async def test_a_wait_for_a_lock_is_told_as_such(
    catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
) -> None:
    url = f"/products/{(await create(catalog, auth_process))['id']}"
    async with await psycopg.AsyncConnection.connect(dsn(catalog_settings)) as holder:
        await holder.execute("SELECT FROM catalog.products FOR UPDATE")
        answer = await catalog.put(url, json=LAPTOP, headers=auth_process.admin, timeout=30)
        assert "same rows" in problem_of(answer, 503)["detail"]
        assert answer.headers["retry-after"]


async def test_a_connection_without_a_free_slot_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.connection.SLOT_SECONDS", 0.1)
    server = Server("", 1, {})
    await server.acquire_slot()
    with pytest.raises(psycopg.OperationalError, match="all connections are still ending"):
        await server.acquire_slot()
    server.release_slot()
    await server.acquire_slot()
