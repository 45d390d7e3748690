"""Lists: bounded in bytes, deep ones bounded in number, and what a cursor promises while others write."""

import asyncio
from typing import Any

import httpx
import psycopg
import pytest

from catalog import products
from catalog.settings import CatalogSettings
from tests.fixtures.catalog import Auth
from tests.fixtures.databases import dsn
from tests.integration.catalog.test_products import create, problem_of

INSERT = "INSERT INTO catalog.products (name, description, price, currency, category, deleted_at)"
VALUES = f"{INSERT} SELECT 'n' || n, %s, 1, 'USD', 'c', {{deleted}} FROM generate_series(1, %s) AS n"


async def fill(settings: CatalogSettings, count: int, *, description: str = "", deleted: str = "NULL") -> None:
    async with await psycopg.AsyncConnection.connect(dsn(settings), autocommit=True) as connection:
        await connection.execute(VALUES.format(deleted=deleted), [description, count])
        await connection.execute("VACUUM ANALYZE catalog.products")


async def walk(client: httpx.AsyncClient, url: str | None) -> list[list[int]]:
    """The ids of each page."""
    pages = []
    while url:
        page = (await client.get(url)).json()
        pages.append([item["id"] for item in page["items"]])
        url = page["next"]
        assert len(pages) < 200
    return pages


class TestBytes:
    @pytest.mark.parametrize("url", ["/products?limit=500", "/products?limit=500&cursor="])
    async def test_a_page_of_large_products_is_short_and_goes_on(
        self, catalog: httpx.AsyncClient, catalog_settings: CatalogSettings, url: str
    ) -> None:
        await fill(catalog_settings, 300, description="\U0001f4bb" * 20_000)
        first = await catalog.get(url)
        assert len(first.content) <= products.MAX_PAGE_BYTES + 200_000
        pages = await walk(catalog, url)
        assert 1 < len(pages) < 20
        assert all(pages)
        assert [it for page in pages for it in page] == sorted({it for page in pages for it in page})
        assert sum(map(len, pages)) == 300

    async def test_one_product_is_always_answered(
        self, catalog: httpx.AsyncClient, catalog_settings: CatalogSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(products, "MAX_PAGE_BYTES", 1)
        await fill(catalog_settings, 3, description="x" * 100)
        assert list(map(len, await walk(catalog, "/products"))) == [1, 1, 1]


class TestDeep:
    async def test_a_deep_page_is_the_same_by_skip_and_by_cursor(
        self, catalog: httpx.AsyncClient, catalog_settings: CatalogSettings
    ) -> None:
        await fill(catalog_settings, 10_010)
        every = [it for page in await walk(catalog, "/products?cursor=&limit=500") for it in page]
        for skip in (9_999, 10_000, 10_001, 10_009):
            assert (await walk(catalog, f"/products?skip={skip}&limit=4"))[0] == every[skip : skip + 4]
        beyond = (await catalog.get("/products?skip=10010")).json()
        assert beyond == {"items": [], "total": 10_010, "skip": 10_010, "limit": 100, "next": None}

    async def test_deep_pages_wait_for_one_another_and_others_do_not(
        self, catalog: httpx.AsyncClient, catalog_settings: CatalogSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With reads made slow, 8 deep ones get their answer or are told to use a cursor; a shallow one is not late."""
        running: list[int] = []
        most = 0

        async def slow_fetch(fetch: Any, query: str, params: Any = ()) -> Any:
            nonlocal most
            if query != products._START.sql:
                return await fetch(query, params)
            running.append(1)
            most = max(most, len(running))
            await asyncio.wait_for(released.wait(), 60)
            running.pop()
            return await fetch(query, params)

        from common.web.database import Database

        fetch, released = Database.fetch, asyncio.Event()
        monkeypatch.setattr(
            Database, "fetch", lambda self, query, params=(): slow_fetch(fetch.__get__(self), query, params)
        )
        monkeypatch.setattr(products, "DEEP_WAIT_SECONDS", 0.5)
        deep = [asyncio.create_task(catalog.get("/products?skip=20000")) for _ in range(8)]
        await asyncio.wait(deep, return_when=asyncio.FIRST_COMPLETED)
        assert (await catalog.get("/products")).status_code == 200
        while len([task for task in deep if task.done()]) < 7:
            await asyncio.wait([task for task in deep if not task.done()], return_when=asyncio.FIRST_COMPLETED)
        released.set()
        answers = await asyncio.gather(*deep)
        assert sorted(answer.status_code for answer in answers) == [200] + [503] * 7
        refused = next(answer for answer in answers if answer.status_code == 503)
        assert "cursor" in problem_of(refused, 503)["detail"]
        assert refused.headers["retry-after"]
        assert most == 1

    async def test_deleted_products_in_between_cost_nothing(
        self, catalog: httpx.AsyncClient, catalog_settings: CatalogSettings
    ) -> None:
        """The plan walks the index of live products: beside 20 000 deleted ones it reads as few blocks as without."""
        await fill(catalog_settings, 5)
        await fill(catalog_settings, 20_000, deleted="now()")
        await fill(catalog_settings, 5)
        parameters = products._PAGE.values(after=0, limit=11, skip=0, max_bytes=products.MAX_PAGE_BYTES)
        async with await psycopg.AsyncConnection.connect(dsn(catalog_settings), autocommit=True) as connection:
            explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {products._PAGE.sql}"
            explained = await connection.execute(explain, parameters)
            plan = (await explained.fetchone())[0][0]["Plan"]  # type: ignore[index]
        assert "products_live_idx" in str(plan)
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 60
        assert (await catalog.get("/products")).json()["total"] == 10


class TestCursor:
    async def test_what_was_there_is_read_once_beside_an_open_transaction(
        self, catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
    ) -> None:
        """A product whose id was given before, and that is committed after, may be missed: no more is promised."""
        before = [(await create(catalog, auth_process))["id"] for _ in range(3)]
        async with await psycopg.AsyncConnection.connect(dsn(catalog_settings)) as writer:
            late = await (
                await writer.execute(
                    "INSERT INTO catalog.products (name, description, price, currency, category) "
                    "VALUES ('late', '', 1, 'USD', 'c') RETURNING id"
                )
            ).fetchone()
            after = [(await create(catalog, auth_process))["id"] for _ in range(3)]
            assert late is not None
            assert before[-1] < late[0] < after[0]
            first = (await catalog.get("/products?cursor=&limit=5")).json()
            await writer.commit()
        rest = await walk(catalog, first["next"])
        assert [item["id"] for item in first["items"]] + [it for page in rest for it in page] == [*before, *after]
        everything = await walk(catalog, "/products?cursor=&limit=5")
        assert [it for page in everything for it in page] == [*before, late[0], *after]
