"""A read that begins after a write was acknowledged never returns older data, through whichever replica."""

import asyncio
import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from catalog import products
from catalog.paging import Paging
from catalog.reads import ProductReads
from catalog.rows import JSON_LOADERS
from catalog.schemas import ProductIn
from catalog.settings import CatalogSettings
from common.web.database import Database
from tests.fixtures.catalog import Auth, empty
from tests.fixtures.databases import dsn
from tests.fixtures.processes import environment_of, run_process, until_healthy

WRITERS = 16
PRODUCT = {"name": "Lamp", "description": "It shines", "price": 1, "category": "light"}


@pytest.fixture
def replicas(catalog_settings: CatalogSettings) -> Iterator[list[int]]:
    """The ports of two catalog processes on one empty database."""
    with psycopg.connect(dsn(catalog_settings), autocommit=True) as connection:
        empty(connection)
    environment = environment_of(catalog_settings) | {"LOG_LEVEL": "warning"}
    with ExitStack() as stack:
        started = [stack.enter_context(run_process("catalog", "serve", environment)) for _ in range(2)]
        yield [int(until_healthy(process).url.rpartition(":")[2]) for process in started]


class Connection:
    """One keep-alive connection: httpx would take longer than the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def request(self, method: str, path: str, token: str = "", body: Any = None) -> tuple[int, Any]:
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: catalog"]
        lines += [f"Content-Length: {len(content)}"] if content else []
        lines += ["Content-Type: application/json", f"Authorization: {token}"] if token else []
        self._writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        return int(head.split()[1]), json.loads(await self._reader.readexactly(length))

    def close(self) -> None:
        self._writer.close()


@pytest.mark.parametrize("number", [2_000, pytest.param(10_000, marks=pytest.mark.chaos)])
async def test_a_read_after_a_write_through_another_replica(
    replicas: list[int], auth_process: Auth, number: int
) -> None:
    token = auth_process.admin["Authorization"]
    rounds = iter(range(number))
    stop = set[Any]()

    async def repeat(connection: Connection, path: str) -> None:
        while asyncio.current_task() not in stop:
            await connection.request("GET", path)
        stop.discard(asyncio.current_task())

    async def write_and_read(writer_number: int) -> None:
        connections, others = [[await Connection.open(port) for port in replicas] for _ in range(2)]
        status, made = await connections[0].request("POST", "/products", token, PRODUCT)
        assert status == 201, made
        path, cursor = f"/products/{made['id']}", f"/products?limit=1&skip={writer_number}"
        for turn in rounds:
            writer, reader = connections[turn % 2], connections[1 - turn % 2]
            # Reads of the same product that are under way when the write is acknowledged.
            earlier = asyncio.create_task(repeat(others[1 - turn % 2], path)) if turn % 20 < 2 else None
            status, written = await writer.request("PUT", path, token, {"price": turn + 2})
            assert status == 200, written
            assert await reader.request("GET", path) == (200, written)
            if earlier is not None:
                stop.add(earlier)
                await earlier
            if turn % 50 == 0:
                _, page = await reader.request("GET", cursor)
                assert [it["version"] for it in page["items"] if it["id"] == made["id"]] in ([], [written["version"]])
        for connection in (*connections, *others):
            connection.close()

    await asyncio.gather(*(write_and_read(it) for it in range(WRITERS)))


class Replicas(RuleBasedStateMachine):
    """Writers and readers of a few products that overlap at random; time passes only in `advance`."""

    settings: CatalogSettings

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.tasks: list[asyncio.Task[None]] = []
        self.acknowledged: dict[int, int] = {}
        self.runner.run(self._open())

    async def _open(self) -> None:
        self.databases = [Database(self.settings, application="catalog", loaders=JSON_LOADERS) for _ in range(2)]
        self.reads = [ProductReads(db, lanes=lanes) for lanes, db in enumerate(self.databases, 1)]
        for db in self.databases:
            await db.open()
        async with self.databases[0].transaction() as session:
            for _ in range(3):
                made = await products.create(session, ProductIn.model_validate(PRODUCT))
                self.acknowledged[made.id] = made.version
        self.ids = list(self.acknowledged)

    @rule(which=st.integers(0, 2), replica=st.integers(0, 1))
    def write(self, which: int, replica: int) -> None:
        self._start(self._write(self.ids[which], self.databases[replica]))

    @rule(which=st.integers(0, 2), replica=st.integers(0, 1))
    def read(self, which: int, replica: int) -> None:
        self._start(self._read(self.ids[which], self.reads[replica]))

    @rule(replica=st.integers(0, 1), limit=st.integers(1, 3))
    def read_page(self, replica: int, limit: int) -> None:
        self._start(self._read_page(Paging.of(0, limit, ""), self.reads[replica]))

    @rule(which=st.integers(0, 9))
    def cancel(self, which: int) -> None:
        # How many are left depends on the server's time, so it is no precondition.
        for task in self.tasks[which : which + 1]:
            if task.get_name() == "read":
                task.cancel()

    @rule(turns=st.integers(1, 30))
    def advance(self, turns: int) -> None:
        self.runner.run(self._turns(turns))

    def _start(self, work: Any) -> None:
        async def start() -> asyncio.Task[None]:
            return asyncio.create_task(work, name="write" if work.__name__ == "_write" else "read")

        self.tasks.append(self.runner.run(start()))

    async def _turns(self, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(random.choice((0, 0, 0, 0.0005)))
        for task in [it for it in self.tasks if it.done()]:
            self.tasks.remove(task)
            if not task.cancelled():
                task.result()

    async def _write(self, product_id: int, db: Database) -> None:
        async with db.transaction() as session:
            product = await products.get_for_update(session, product_id)
            written = await products.update(session, product, {"stock": product.version})
        self.acknowledged[product_id] = max(self.acknowledged[product_id], written.version)

    async def _read(self, product_id: int, reads: ProductReads) -> None:
        acknowledged = self.acknowledged[product_id]
        _, body = await reads.product(product_id)
        product = json.loads(body)
        assert product["id"] == product_id
        assert product["version"] >= acknowledged

    async def _read_page(self, paging: Paging, reads: ProductReads) -> None:
        acknowledged = dict(self.acknowledged)
        page = json.loads(await reads.page(paging))
        assert len(page["items"]) == min(paging.limit, page["total"])
        assert all(it["version"] >= acknowledged.get(it["id"], 0) for it in page["items"])

    def teardown(self) -> None:
        async def close() -> None:
            await asyncio.gather(*self.tasks, return_exceptions=True)
            await self._turns(1)
            for db, reads in zip(self.databases, self.reads, strict=True):
                await reads.close()
                await db.close()

        self.runner.run(close())
        self.runner.close()


def test_overlapping_reads_and_writes(catalog_settings: CatalogSettings) -> None:
    with psycopg.connect(dsn(catalog_settings), autocommit=True) as connection:
        empty(connection)

    class Machine(Replicas):
        settings = catalog_settings

    bounds = settings(
        max_examples=25, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
    )
    run_state_machine_as_test(Machine, settings=bounds)
