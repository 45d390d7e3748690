"""Dependencies that take connections and never answer: nobody waits for them for long."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import httpx
import psycopg
import pytest
import redis.exceptions
from pydantic import SecretStr

from catalog.app import build
from catalog.settings import CatalogSettings
from common.health import CACHE_SECONDS
from common.redis_client import connect
from sync import database, queue
from sync.monitoring import Monitor
from sync.settings import SyncSettings
from tests.fixtures.catalog import Auth
from tests.fixtures.service import serving

# Each is given up after a second or a few; the rest is for a busy machine.
SECONDS = 20.0


@pytest.fixture
async def silent() -> AsyncIterator[int]:
    """The port of a server that reads and says nothing."""
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await closed(writers)


async def closed(writers: list[asyncio.StreamWriter]) -> None:
    for writer in writers:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


T = TypeVar("T")


async def ends(work: Callable[[], Awaitable[T]]) -> T:
    began = time.monotonic()
    found = await asyncio.wait_for(work(), SECONDS)
    assert time.monotonic() - began < SECONDS
    return found


async def test_a_command_to_a_frozen_redis_ends(silent: int) -> None:
    client = connect(sync_settings(silent))
    with pytest.raises(redis.exceptions.RedisError):
        await ends(client.ping)
    await client.aclose()


async def test_a_pipeline_to_a_frozen_redis_ends(silent: int) -> None:
    client = connect(sync_settings(silent))
    async with client.pipeline(transaction=False) as pipeline:
        pipeline.ping()
        with pytest.raises(redis.exceptions.RedisError):
            await ends(pipeline.execute)
    await client.aclose()


async def test_a_token_beside_a_frozen_auth(catalog_settings: CatalogSettings, auth_process: Auth, silent: int) -> None:
    """Catalog never had the keys: it says that it cannot tell, and serves what needs no token."""
    settings = catalog_settings.model_copy(update={"auth_url": f"http://127.0.0.1:{silent}"})
    async with serving(build(settings)) as client:

        async def write() -> httpx.Response:
            return await client.delete("/products/1", headers=auth_process.admin)

        assert (await ends(write)).status_code == 503
        assert (await ends(lambda: client.get("/products"))).status_code == 200


def sync_settings(silent: int) -> SyncSettings:
    return SyncSettings.model_validate(
        {
            "database_url": f"postgresql://x:y@127.0.0.1:{silent}/z",
            "redis_url": f"redis://127.0.0.1:{silent}/0",
            "sync_client_secret": "x" * 40,
        }
    )


async def test_a_worker_gives_a_frozen_postgres_up(silent: int) -> None:
    async with database.connect(sync_settings(silent), "test") as db:
        with pytest.raises(psycopg.OperationalError):
            await ends(lambda: db.fetch("SELECT 1"))


async def test_a_database_that_is_not_open_is_unavailable(silent: int) -> None:
    with pytest.raises(psycopg.OperationalError):
        await database.connect(sync_settings(silent), "test").fetch("SELECT 1")


async def test_a_worker_beside_frozen_servers_is_unready_within_its_time(silent: int) -> None:
    """Each time it is asked, also when its attempts to connect have ended meanwhile."""
    with Monitor(sync_settings(silent), "test") as monitor:
        for _ in range(4):
            status, report = await ends(lambda: asyncio.to_thread(monitor.health, draining=False))
            assert (status, report["state"]) == (503, "unavailable")
            assert report["checks"]["postgres"]["detail"] == "no answer within 1 s"
            assert report["checks"]["redis"]["detail"] == "no connection to Redis: check REDIS_URL and the network"
            assert report["detail"].startswith("postgres: no answer within 1 s, redis: no connection to Redis")
            await asyncio.sleep(CACHE_SECONDS)


async def test_a_worker_gives_a_frozen_redis_up(silent: int) -> None:
    client = queue.connect(sync_settings(silent))
    with pytest.raises(redis.exceptions.RedisError):
        await ends(lambda: asyncio.to_thread(client.ping))
    client.close()


async def test_a_statement_on_a_postgres_that_freezes_in_the_middle_ends(silent: int, postgres: str) -> None:
    """Behind a proxy that passes on what the server says, until it does not."""
    settings = sync_settings(silent)
    frozen = asyncio.Event()
    host, port = postgres.rpartition("@")[2].partition("/")[0].split(":")

    writers: list[asyncio.StreamWriter] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if not frozen.is_set():
                writer.write(data)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection(host, int(port))
        writers.extend((writer, outer))
        await asyncio.gather(relay(reader, outer), relay(inner, writer), return_exceptions=True)

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    url = SecretStr(postgres.replace(f"{host}:{port}", address))
    async with database.connect(settings.model_copy(update={"database_url": url}), "test") as db:
        assert await db.fetch("SELECT 1") == [(1,)]
        frozen.set()
        with pytest.raises(psycopg.OperationalError):
            await ends(lambda: db.fetch("SELECT 1"))
    proxy.close()
    await closed(writers)
