"""Transactions: what is kept, what is not, and that connections come back."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from catalog.settings import CatalogSettings
from common.deadlines import start_deadline
from common.web.database import Database, Transaction
from tests.fixtures.databases import dsn
from tests.integration.common.test_backends import eventually

SOURCE = "test-transactions"
INSERT = "INSERT INTO catalog.imports (source, run_id, fence) VALUES (%s, gen_random_uuid(), 1)"
BUSY = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'transactions' AND state <> 'idle'"
NAMES = "SELECT source FROM catalog.imports WHERE source LIKE %s ORDER BY source"


@pytest.fixture
async def db(catalog_settings: CatalogSettings) -> AsyncIterator[Database]:
    """With two connections for transactions."""
    with psycopg.connect(dsn(catalog_settings), autocommit=True) as connection:
        connection.execute("DELETE FROM catalog.imports WHERE source LIKE %s", [f"{SOURCE}%"])
    async with Database(catalog_settings.model_copy(update={"db_pool_size": 2}), application="transactions") as db:
        yield db


async def kept(db: Database) -> list[str]:
    return [row[0].removeprefix(SOURCE) for row in await db.fetch(NAMES, [f"{SOURCE}%"])]


async def insert(transaction: Transaction, name: str) -> None:
    assert await transaction.execute(INSERT, [SOURCE + name]) == 1


async def test_it_is_committed_at_the_end_of_the_block(db: Database) -> None:
    async with db.transaction() as transaction:
        await insert(transaction, "a")
        await insert(transaction, "b")
        assert await kept(db) == []
        assert [row[0] for row in await transaction.fetch(NAMES, [f"{SOURCE}%"])] == [SOURCE + "a", SOURCE + "b"]
    assert await kept(db) == ["a", "b"]


async def test_nothing_is_kept_of_a_block_that_raises(db: Database, catalog_settings: CatalogSettings) -> None:
    async def fail() -> None:
        async with db.transaction() as transaction:
            await insert(transaction, "a")
            raise LookupError

    # More often than there are connections.
    for _ in range(5):
        start_deadline(5, 5)
        with pytest.raises(LookupError):
            await fail()
    assert await kept(db) == []
    await eventually(catalog_settings, BUSY, (0,))


@pytest.mark.parametrize("before", [0, 1])
async def test_a_statement_that_fails_fails_all(db: Database, catalog_settings: CatalogSettings, before: int) -> None:
    async def fail() -> None:
        async with db.transaction() as transaction:
            for number in range(before):
                await insert(transaction, str(number))
            await transaction.fetch("SELECT 1 / 0")

    for _ in range(5):
        start_deadline(5, 5)
        with pytest.raises(psycopg.errors.DivisionByZero):
            await fail()
    assert await kept(db) == []
    await eventually(catalog_settings, BUSY, (0,))
    async with db.transaction() as transaction:
        await insert(transaction, "after")
    assert await kept(db) == ["after"]


async def test_nothing_is_kept_of_one_that_is_cancelled(db: Database, catalog_settings: CatalogSettings) -> None:
    async def run(started: asyncio.Event) -> None:
        async with db.transaction() as transaction:
            await insert(transaction, "a")
            started.set()
            await transaction.fetch("SELECT pg_sleep(60)")

    for _ in range(3):
        started = asyncio.Event()
        task = asyncio.create_task(run(started))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await eventually(catalog_settings, BUSY, (0,))
    async with db.transaction() as transaction:
        await insert(transaction, "after")
    assert await kept(db) == ["after"]


async def test_a_block_without_statements_takes_no_connection(db: Database) -> None:
    async with db.transaction() as one, db.transaction() as two, db.transaction() as three:
        assert (one.connection, two.connection, three.connection) == (None, None, None)


async def test_more_transactions_than_connections_wait_for_each_other(db: Database) -> None:
    async def run(name: str) -> None:
        start_deadline(5, 5)
        async with db.transaction() as transaction:
            await insert(transaction, name)

    names = [f"{number:02}" for number in range(20)]
    await asyncio.gather(*(run(name) for name in names))
    assert await kept(db) == names
