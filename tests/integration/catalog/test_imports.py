"""Stage, then merge: fences, resumption, pins, tombstones, and rows that are not rewritten."""

import asyncio
import json
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from catalog.settings import CatalogSettings
from tests.fixtures.catalog import Auth
from tests.fixtures.databases import dsn
from tests.fixtures.imports import Importer, connected, counts, item

LAPTOP = {"name": "Laptop", "description": "14 inches", "price": 999.99, "category": "electronics"}


async def rows(settings: CatalogSettings, columns: str) -> list[Any]:
    query = f"SELECT {columns} FROM catalog.products ORDER BY external_id"
    async with await psycopg.AsyncConnection.connect(dsn(settings), autocommit=True) as connection:
        return await (await connection.execute(query)).fetchall()


async def test_creates_updates_and_leaves_the_rest_unwritten(
    catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
) -> None:
    things = [item(str(n), attributes={"n": n, "deep": [1.5]}) for n in range(50)]
    assert await Importer(catalog, auth_process).run(things) == counts(created=50)
    system = "external_id, xmin::text, xmax::text, ctid::text, version, updated_at, synced_at"
    before = await rows(catalog_settings, system)
    assert await Importer(catalog, auth_process).run(things) == counts(unchanged=50)
    assert await rows(catalog_settings, system) == before
    things[7]["price"] = 2
    things[8]["attributes"] = {"n": 8}
    assert await Importer(catalog, auth_process).run(things) == counts(updated=2, unchanged=48)
    changed = {new[0] for old, new in zip(before, await rows(catalog_settings, system), strict=True) if old != new}
    assert changed == {"7", "8"}
    page = (await catalog.get("/products?limit=500")).json()
    assert page["total"] == 50
    assert {it["source"] for it in page["items"]} == {"shop"}


async def test_nothing_shows_before_the_merge_and_an_incomplete_pass_never_merges(
    catalog: httpx.AsyncClient, auth_process: Auth
) -> None:
    worker = Importer(catalog, auth_process)
    await worker.open()
    await worker.stage(None, "p2", [item("a")])
    assert (await catalog.get("/products")).json()["total"] == 0
    refused = await worker.merge()
    assert refused.status_code == 409
    assert refused.json()["type"].endswith("stale-import")
    assert (await catalog.get("/products")).json()["total"] == 0


async def test_resumes_after_the_last_staged_page_and_replays_are_harmless(
    catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
) -> None:
    run_id = uuid4()
    first = Importer(catalog, auth_process, run_id)
    await first.open()
    await first.stage(None, "p2", [item("a"), item("b")])
    assert (await first.stage(None, "p2", [item("a"), item("b")])).json() == {"staged": 2, "rejected": 0}
    second = Importer(catalog, auth_process, run_id, fence=2)
    assert (await second.open()).json() == {
        "cursor": "p2",
        "staged": 2,
        "rejected": 0,
        "complete": False,
        "applying": False,
    }
    for late in (await first.stage("p2", "p3", [item("x")]), await first.merge(), await first.open()):
        assert late.status_code == 409, late.text
    assert (await second.stage("p1", "p3", [item("x")])).status_code == 409
    await second.stage(
        "p2", None, [item("b", name="B, newer"), item("c")], [{"external_id": None, "reason": "no id", "payload": "{}"}]
    )
    assert (await second.open()).json()["complete"] is True
    expected = counts(created=3, rejected=1, duplicates=1)
    assert (await second.merge()).json() == expected
    assert (await second.merge()).json() == expected
    names = [it["name"] for it in (await catalog.get("/products")).json()["items"]]
    assert sorted(names) == ["B, newer", "Thing a", "Thing c"]


async def test_a_new_run_discards_what_an_older_one_staged(catalog: httpx.AsyncClient, auth_process: Auth) -> None:
    old = Importer(catalog, auth_process)
    await old.open()
    await old.stage(None, "p2", [item("ghost")])
    assert await Importer(catalog, auth_process, fence=2).run([item("real")]) == counts(created=1)
    assert [it["external_id"] for it in (await catalog.get("/products")).json()["items"]] == ["real"]


async def test_an_admins_edit_survives_and_a_deleted_product_stays_deleted(
    catalog: httpx.AsyncClient, auth_process: Auth
) -> None:
    await Importer(catalog, auth_process).run([item("edited"), item("deleted")])
    edited, deleted = (await catalog.get("/products")).json()["items"]
    change = {key: edited[key] for key in ("name", "description", "category")} | {"price": 77.77}
    answer = await catalog.put(f"/products/{edited['id']}", json=change, headers=auth_process.admin)
    assert answer.json()["pinned"] == ["price"]
    await catalog.delete(f"/products/{deleted['id']}", headers=auth_process.admin)
    update = [item("edited", name="New name", price=5), item("deleted", price=5)]
    assert await Importer(catalog, auth_process).run(update) == counts(updated=1, deleted=1)
    (left,) = (await catalog.get("/products")).json()["items"]
    assert (left["name"], left["price"], left["id"]) == ("New name", 77.77, edited["id"])
    assert await Importer(catalog, auth_process).run(update) == counts(pinned=1, deleted=1)


async def test_readers_see_one_switch(catalog: httpx.AsyncClient, auth_process: Auth) -> None:
    done = asyncio.Event()

    async def total() -> int:
        return int((await catalog.get("/products?limit=1")).json()["total"])

    async def read() -> set[int]:
        totals = set()
        while not done.is_set():
            totals.add(await total())
        return totals | {await total()}

    assert await total() == 0
    reader = asyncio.create_task(read())
    await Importer(catalog, auth_process).run([item(str(n)) for n in range(500)])
    done.set()
    totals = await reader
    assert 500 in totals
    assert totals <= {0, 500}


@pytest.mark.parametrize(
    "bad",
    [
        {"external_id": ""}, {"name": ""}, {"name": "\x00"}, {"price": "NaN"}, {"stock": -1}, {"stock": 2**31},
        {"currency": "usd"}, {"external_id": 5}, {"price": 1e30}, {"price": -1}, {"price": 1.005},
        {"attributes": []}, {"attributes": 5}, {"attributes": {"a": "\x00"}}, {"attributes": {"\x00": 1}},
    ],
)  # fmt: skip
async def test_a_bad_page_is_refused_whole(catalog: httpx.AsyncClient, auth_process: Auth, bad: dict[str, Any]) -> None:
    worker = Importer(catalog, auth_process)
    await worker.open()
    answer = await worker.stage(None, None, [item("good"), item("bad") | bad])
    assert answer.status_code in (400, 422), answer.text
    assert (await worker.open()).json()["staged"] == 0


async def test_a_merge_touches_its_own_source_alone(
    catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
) -> None:
    """Two sources with the same ids, whose runs stage and merge in between one another."""
    shop, store = (Importer(catalog, auth_process, source=name) for name in ("shop", "store"))
    for importer in (shop, store):
        await importer.open()
    for after, cursor, numbers in ((None, "p2", (0, 1)), ("p2", None, (2,))):
        for importer, price in ((shop, 1), (store, 2)):
            items = [item(str(n), price=price) for n in numbers]
            assert (await importer.stage(after, cursor, items)).status_code == 200
    assert (await shop.merge()).json() == counts(created=3)
    assert await rows(catalog_settings, "source, price") == [("shop", Decimal(1))] * 3
    assert (await store.merge()).json() == counts(created=3)
    by_source = "SELECT source, price, count(*) FROM catalog.products GROUP BY source, price ORDER BY source"
    async with await psycopg.AsyncConnection.connect(dsn(catalog_settings), autocommit=True) as connection:
        assert await (await connection.execute(by_source)).fetchall() == [("shop", 1, 3), ("store", 2, 3)]
        again = Importer(catalog, auth_process, source="shop")
        assert await again.run([item(str(n), price=5) for n in range(3)]) == counts(updated=3)
        assert await (await connection.execute(by_source)).fetchall() == [("shop", 5, 3), ("store", 2, 3)]


@pytest.mark.parametrize("begun", [False, True], ids=["alone", "after the newer one had begun"])
async def test_a_catalog_of_the_release_before_may_merge(
    catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings, begun: bool
) -> None:
    """During an upgrade, on the schema of the newer release: what it stores is all that is known of the run."""
    run = await Importer(catalog, auth_process).take([item("a")])
    result = {"fetched": 1, "created": 1, "updated": 0, "unchanged": 0, "rejected": 0, "of another release": 1}
    with connected(catalog_settings) as connection:
        if begun:
            connection.execute(
                "INSERT INTO catalog.import_runs (run_id, source, phase, counts) VALUES (%s, 'shop', 'applying', '{}')",
                [run.run_id],
            )
        connection.execute("DELETE FROM catalog.import_rows")
        connection.execute("UPDATE catalog.imports SET result = %s", [json.dumps(result)])
    assert (await run.merge()).json() == counts(created=1)
    assert await run.done("apply", missing="remove") == counts(created=1)
    assert (await run.open()).json()["complete"] is True
    assert await Importer(catalog, auth_process).run([item("a")]) == counts(created=1), "it did not really merge"
