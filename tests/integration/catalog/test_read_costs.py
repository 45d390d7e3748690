"""What reads cost: statements when many wait at the same time, and CPU when there is nothing to find."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

import psutil
import psycopg
import pytest

from catalog.app import build
from catalog.paging import Paging
from catalog.reads import ProductReads
from catalog.rows import JSON_LOADERS
from catalog.settings import CatalogSettings
from common.web.database import Database
from common.web.errors import NotFound
from tests.fixtures.catalog import empty
from tests.fixtures.databases import dsn
from tests.fixtures.processes import environment_of, run_process, until_healthy
from tests.fixtures.service import serving
from tests.fixtures.waiting import eventually
from tests.load.client import Load, Request
from tests.load.seed import seed

PRODUCTS, MISSING = 200, 2**62


@pytest.fixture
async def reads(catalog_settings: CatalogSettings) -> AsyncIterator[ProductReads]:
    """Reads of PRODUCTS products, two groups of each kind at a time."""
    with psycopg.connect(dsn(catalog_settings), autocommit=True) as connection:
        empty(connection)
        seed(dsn(catalog_settings), PRODUCTS)
    async with Database(catalog_settings, application="catalog", loaders=JSON_LOADERS) as db:
        found = ProductReads(db, lanes=2)
        yield found
        await found.close()


async def test_reads_that_wait_share_statements(
    reads: ProductReads, catalog_settings: CatalogSettings, statements: list[str]
) -> None:
    first = json.loads(await reads.page(Paging.of(0, 1, "")))["items"][0]["id"]
    async with await psycopg.AsyncConnection.connect(dsn(catalog_settings)) as holder:
        await holder.execute("LOCK TABLE catalog.products IN ACCESS EXCLUSIVE MODE")
        statements.clear()
        blocked = []
        for group in (1, 2):
            blocked.append(asyncio.create_task(reads.product(first)))
            await eventually(lambda group=group: len(statements) == group)  # type: ignore[misc]
        waiting = [asyncio.create_task(reads.product(first + number % 40)) for number in range(60)]
        await eventually(lambda: len(reads._products._unanswered) == len(blocked) + len(waiting))
    found = [json.loads(body)["id"] for _, body in await asyncio.gather(*blocked, *waiting)]
    assert found == [first, first, *(first + number % 40 for number in range(60))]
    assert len(statements) == 3, "all that waited are one statement"


@pytest.mark.parametrize("groups", [1, 3])
async def test_so_many_groups_as_the_setting_says(
    reads: ProductReads, catalog_settings: CatalogSettings, statements: list[str], groups: int
) -> None:
    first = json.loads(await reads.page(Paging.of(0, 1, "")))["items"][0]["id"]
    service = build(catalog_settings.model_copy(update={"read_groups": groups}))
    served: Any = service.api.user_middleware[0].args[0]
    async with serving(service) as client:
        async with await psycopg.AsyncConnection.connect(dsn(catalog_settings)) as holder:
            await holder.execute("LOCK TABLE catalog.products IN ACCESS EXCLUSIVE MODE")
            statements.clear()
            answers = []
            for number in range(groups + 2):
                answers.append(asyncio.create_task(client.get(f"/products/{first + number}")))
                await eventually(lambda: len(served._products._unanswered) == len(answers))
        assert {answer.status_code for answer in await asyncio.gather(*answers)} == {200}
    assert len([it for it in statements if "ANY" in it]) == groups + 1, "the last two waited, and were one group"


async def test_equal_pages_share_a_statement(reads: ProductReads, statements: list[str]) -> None:
    await reads.page(Paging.of(0, 1, None))
    statements.clear()
    equal = await asyncio.gather(*(reads.page(Paging.of(0, 10, None)) for _ in range(30)))
    assert len({id(body) for body in equal}) == 1
    assert len(statements) == 1
    pages = await asyncio.gather(*(reads.page(Paging.of(skip, 10, None)) for skip in (0, 1, 2, 3, 1, 2)))
    assert [json.loads(page)["skip"] for page in pages] == [0, 1, 2, 3, 1, 2]
    assert len(statements) == 1 + 4


async def test_what_is_not_there_is_not_found(reads: ProductReads) -> None:
    with pytest.raises(NotFound):
        await reads.product(MISSING)


def test_misses_cost_no_more_than_hits(reads: ProductReads, catalog_settings: CatalogSettings) -> None:
    def cost(path: str, status: int, ids: tuple[int, int, int]) -> float:
        """CPU seconds of a request."""
        before = cpu()
        load = Load(int(process.url.rpartition(":")[2]), 1.0, 8, Request(path, status=status, ids=ids))
        command = [sys.executable, "-m", "tests.load.client", json.dumps(asdict(load))]
        report = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
        assert not report["errors"]
        return (cpu() - before) / float(report["requests"])

    def cpu() -> float:
        times = psutil.Process(process.process.pid).cpu_times()
        return times.user + times.system

    with psycopg.connect(dsn(catalog_settings), autocommit=True) as connection:
        row = connection.execute("SELECT min(id) FROM catalog.products").fetchone()
    first = row[0] if row else 0
    with run_process("catalog", "serve", environment_of(catalog_settings) | {"LOG_LEVEL": "error"}) as process:
        until_healthy(process)
        hits = [("/products/{id}", 200, (first, first + PRODUCTS, 1)), ("/products/{id}", 404, (2**61, 2**62, 1))]
        pairs = [[cost(*it) for it in hits] for _ in range(3)]
    ratio = sorted(miss / hit for hit, miss in pairs)[1]
    print(f"misses cost {ratio:.2f} of hits")
    assert ratio < 1.5
