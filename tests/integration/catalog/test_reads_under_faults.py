"""Reads in groups while connections are cut, clients go, and PostgreSQL freezes or restarts.

Each reader gets its own right answer, or a 503 in time, and nothing is left of it.
"""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from catalog.app import build
from catalog.settings import CatalogSettings
from common.grouped_reads import GroupedReads
from tests.fixtures import checked
from tests.fixtures.catalog import empty
from tests.fixtures.databases import dsn
from tests.fixtures.service import serving
from tests.load.seed import seed

PRODUCTS, MISSING = 300, 2**62
# A read is given up after less than a second; the rest is for a busy machine.
SECONDS = 20.0


class CuttingProxy:
    """Forwards to PostgreSQL, and ends each connection after so many bytes of answers; None never ends one."""

    def __init__(self) -> None:
        self.bytes: int | None = None
        self.cut = 0
        self._forwarding: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator[int]:
        self._upstream = host, port
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        yield server.sockets[0].getsockname()[1]
        server.close()
        for task in self._forwarding:
            task.cancel()
        await asyncio.gather(*self._forwarding, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._forward(reader, writer))
        self._forwarding.add(task)
        task.add_done_callback(self._forwarding.discard)
        # A task that is cancelled before it has begun closes nothing.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        copies: list[asyncio.Task[None]] = []
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
            writers.append(upstream_writer)
            copies.append(asyncio.create_task(self._copy(reader, upstream_writer, None)))
            copies.append(asyncio.create_task(self._copy(upstream_reader, writer, self.bytes)))
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for copy in copies:
                copy.cancel()
            for it in writers:
                it.transport.abort()
            await asyncio.gather(*copies, *(it.wait_closed() for it in writers), return_exceptions=True)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: int | None) -> None:
        while data := await reader.read(65536):
            if budget is not None and (budget := budget - len(data)) < 0:
                writer.write(data[:budget])
                await writer.drain()
                self.cut += 1
                return
            writer.write(data)


@pytest.fixture
def ids(catalog_settings: CatalogSettings) -> list[int]:
    """The ids of PRODUCTS products."""
    with psycopg.connect(dsn(catalog_settings), autocommit=True) as connection:
        empty(connection)
        seed(dsn(catalog_settings), PRODUCTS)
        return [row[0] for row in connection.execute("SELECT id FROM catalog.products ORDER BY id")]


async def read(client: httpx.AsyncClient, product_id: int) -> int:
    """The status of one read; a product, or a page, is the one that was asked for."""
    if product_id % 3:
        answer = await client.get(f"/products/{product_id}")
        if answer.status_code == 200:
            assert answer.json()["id"] == product_id
            assert answer.headers["etag"] == f'"{product_id}-1"'
    else:
        skip = product_id % PRODUCTS
        answer = await client.get(f"/products?skip={skip}&limit=20")
        if answer.status_code == 200:
            page = answer.json()
            assert (page["skip"], page["total"], len(page["items"])) == (skip, PRODUCTS, min(20, PRODUCTS - skip))
    assert answer.status_code in (200, 404, 503), answer.text
    assert (answer.status_code == 404) <= (product_id >= MISSING)
    return answer.status_code


async def burst(client: httpx.AsyncClient, ids: Sequence[int], *, cancelled: float = 0.0) -> list[int]:
    """The statuses of 40 reads at the same time, of which a share is cancelled at random moments.

    Those have a client of their own: httpx may close a connection that it has given to another request meanwhile.
    """
    wanted = [*random.choices(ids, k=36), *(MISSING + 3 * number + 1 for number in range(4))]
    loop = asyncio.get_running_loop()
    began = time.monotonic()
    async with checked.AsyncClient(base_url=client.base_url, timeout=60) as leaving:
        staying, gone = [], []
        for product_id in wanted:
            if random.random() < cancelled:
                gone.append(asyncio.create_task(read(leaving, product_id)))
                loop.call_later(random.random() / 50, gone[-1].cancel)
            else:
                staying.append(asyncio.create_task(read(client, product_id)))
        done = await asyncio.gather(*staying, return_exceptions=True)
        left = await asyncio.gather(*gone, return_exceptions=True)
        done += [it for it in left if not isinstance(it, httpx.TransportError)]
    assert time.monotonic() - began < SECONDS
    failed = [it for it in done if isinstance(it, Exception)]
    assert not failed, failed
    return [it for it in done if isinstance(it, int)]


def groups_under_way() -> list[Any]:
    return [it for it in asyncio.all_tasks() if "GroupedReads" in repr(it.get_coro())]


async def test_connections_that_are_cut(catalog_settings: CatalogSettings, ids: list[int]) -> None:
    url, proxy = urlsplit(dsn(catalog_settings)), CuttingProxy()
    async with proxy.listening(url.hostname or "", url.port or 5432) as port:
        database_url = SecretStr(dsn(catalog_settings).replace(f":{url.port}/", f":{port}/"))
        async with serving(build(catalog_settings.model_copy(update={"database_url": database_url}))) as client:
            statuses = set(await burst(client, ids))
            assert statuses == {200, 404}
            for _ in range(30):
                proxy.bytes = random.randint(1_000, 40_000)
                statuses |= set(await burst(client, ids, cancelled=0.1))
            assert proxy.cut > 10
            proxy.bytes = None
            await until_served(client, ids)
    assert not groups_under_way()


async def until_served(client: httpx.AsyncClient, ids: Sequence[int]) -> None:
    began = time.monotonic()
    while 503 in await burst(client, ids):
        assert time.monotonic() < began + SECONDS


async def test_clients_that_go_at_random(catalog_settings: CatalogSettings, ids: list[int]) -> None:
    async with serving(build(catalog_settings)) as client:
        for _ in range(30):
            assert set(await burst(client, ids, cancelled=0.5)) <= {200, 404}
        assert set(await burst(client, ids)) == {200, 404}
    assert not groups_under_way()


async def test_backends_that_are_ended(catalog_settings: CatalogSettings, ids: list[int]) -> None:
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'catalog'"
    async with serving(build(catalog_settings)) as client:
        with psycopg.connect(dsn(catalog_settings), autocommit=True) as connection:
            for _ in range(20):
                reads = asyncio.create_task(burst(client, ids))
                await asyncio.sleep(random.random() / 50)
                await asyncio.to_thread(connection.execute, end)
                await reads
        await until_served(client, ids)
    assert not groups_under_way()


@pytest.mark.parametrize("reads", [5_000, pytest.param(62_500, marks=pytest.mark.chaos)])
async def test_memory_stays_flat(reads: int) -> None:
    async def answer(keys: Sequence[int]) -> Mapping[int, int]:
        await asyncio.sleep(0)
        return {key: key for key in keys if key % 7}

    async def some(number: int) -> None:
        for key in range(number):
            assert await grouped.read(key) == (key if key % 7 else None)

    grouped = GroupedReads("test", answer, last_answered=lambda: 0.0)
    await asyncio.gather(*(some(500) for _ in range(16)))
    before = sys.getallocatedblocks()
    await asyncio.gather(*(some(reads) for _ in range(16)))
    assert sys.getallocatedblocks() < before + 2_000, "a read leaves nothing"
