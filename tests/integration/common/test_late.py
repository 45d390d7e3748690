"""A process that is late, for want of CPU or under work of its own, does not take that for a frozen server."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest
import redis.exceptions
from pydantic import SecretStr
from sqlalchemy import text

from catalog.settings import CatalogSettings
from common import loop_clock
from common.deadlines import start_deadline
from common.redis_client import connect
from common.web.postgres_errors import is_unavailable
from tests.fixtures.every_way import EveryWay

# The event loop is held up for so long, again and again, while a silent server has 0.6 s.
HELD_UP = 0.1
WAYS = ["fetch", "transaction", "session"]


@pytest.fixture
async def late() -> AsyncIterator[None]:
    async def hold_up() -> None:
        while True:
            time.sleep(HELD_UP)
            await asyncio.sleep(0)

    task = asyncio.create_task(hold_up())
    yield
    task.cancel()
    await asyncio.wait({task})


@pytest.fixture
def settings(catalog_settings: CatalogSettings) -> CatalogSettings:
    """With few connections, so that one has to wait for them."""
    return catalog_settings.model_copy(update={"db_pool_size": 2})


async def select(db: EveryWay, way: str) -> object:
    start_deadline(0.6, 5.0)
    if way == "fetch":
        return (await db.fetch("SELECT 1"))[0][0]
    if way == "session":
        async with db.write_session() as session:
            return await session.scalar(text("SELECT 1"))
    async with db.transaction() as transaction:
        return (await transaction.fetch("SELECT 1"))[0][0]


def select_often(db: EveryWay, way: str) -> list[asyncio.Task[object]]:
    """Twice as many as there are connections."""
    return [asyncio.create_task(select(db, way)) for _ in range(4)]


@pytest.mark.parametrize("way", WAYS)
async def test_a_late_process_waits_for_a_server_that_answers(settings: CatalogSettings, late: None, way: str) -> None:
    db = EveryWay(settings, application="late")
    await db.open()
    try:
        assert set(await asyncio.gather(*select_often(db, way))) == {1}
    finally:
        await db.close()


@pytest.mark.parametrize("way", WAYS)
async def test_a_late_process_gives_up_a_frozen_server_too(settings: CatalogSettings, late: None, way: str) -> None:
    """It takes connections and never answers."""
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    url = SecretStr(f"postgresql://x:y@127.0.0.1:{server.sockets[0].getsockname()[1]}/z")
    db = EveryWay(settings.model_copy(update={"database_url": url}), application="late")
    await db.open()
    try:
        await all_fail(select_often(db, way))
    finally:
        await db.close()
        server.close()
        for writer in writers:
            writer.close()


@pytest.mark.parametrize("way", WAYS)
async def test_all_who_wait_for_a_connection_give_up_together(settings: CatalogSettings, way: str) -> None:
    """Where a server refuses connections, nobody waits for those who came before."""
    url = SecretStr("postgresql://x:y@127.0.0.1:1/z")
    db = EveryWay(settings.model_copy(update={"database_url": url}), application="late")
    await db.open()
    began = loop_clock.now()
    await all_fail([task for _ in range(20) for task in select_often(db, way)])
    assert loop_clock.now() - began < 3
    await db.close()


async def test_a_late_process_waits_for_a_redis_that_answers(settings: CatalogSettings, late: None) -> None:
    client = connect(settings)
    # More than it has connections.
    assert set(await asyncio.gather(*(client.ping() for _ in range(40)))) == {True}
    await client.aclose()


async def test_a_late_process_gives_up_a_frozen_redis_too(settings: CatalogSettings, late: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = SecretStr(f"redis://127.0.0.1:{server.getsockname()[1]}/0")
        client = connect(settings.model_copy(update={"redis_url": url}))
        async with asyncio.timeout(60):
            with pytest.raises(redis.exceptions.TimeoutError):
                await client.ping()
        await client.aclose()


async def all_fail(tasks: list[asyncio.Task[object]]) -> None:
    done, _ = await asyncio.wait(tasks, timeout=60)
    assert len(done) == len(tasks)
    assert all((error := task.exception()) and is_unavailable(error) for task in tasks)
