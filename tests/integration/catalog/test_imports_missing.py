"""Products that a complete pass lacks: kept, marked or removed, and back under the same id."""

from typing import Any

import httpx
import pytest

from catalog import steps
from catalog.settings import CatalogSettings
from tests.fixtures.catalog import Auth
from tests.fixtures.imports import Importer, connected, counts, item

ROW = "external_id, id, version, updated_at, missing_since IS NOT NULL, deleted_at IS NULL"


def rows(settings: CatalogSettings, columns: str = ROW) -> dict[str, tuple[Any, ...]]:
    with connected(settings) as connection:
        query = f"SELECT {columns} FROM catalog.products WHERE source IS NOT NULL"
        return {row[0]: row[1:] for row in connection.execute(query).fetchall()}


async def passed(client: httpx.AsyncClient, auth: Auth, names: str, missing: str, **change: Any) -> dict[str, int]:
    """A pass with these products; returns the counts."""
    run = await Importer(client, auth).take([item(name, **change) for name in names])
    return await run.done("apply", missing=missing)


@pytest.fixture(autouse=True)
async def made_here(catalog: httpx.AsyncClient, auth_process: Auth) -> None:
    """Products of no source and of another one, which no pass of this source touches."""
    product = {"name": "Ours", "description": "", "price": 1, "category": "things"}
    assert (await catalog.post("/products", json=product, headers=auth_process.admin)).status_code == 201
    await Importer(catalog, auth_process, source="other").run([item("z")])


async def total(client: httpx.AsyncClient) -> int:
    return int((await client.get("/products?limit=1")).json()["total"])


async def test_kept(catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings) -> None:
    await passed(catalog, auth_process, "abc", "keep")
    before = rows(catalog_settings)
    assert await passed(catalog, auth_process, "a", "keep") == counts(unchanged=1)
    assert rows(catalog_settings) == before


async def test_marked_and_seen_again(
    catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
) -> None:
    await passed(catalog, auth_process, "abc", "mark")
    before = rows(catalog_settings)
    assert await passed(catalog, auth_process, "a", "mark") == counts(unchanged=1)
    marked = rows(catalog_settings)
    assert {name for name, row in marked.items() if row[3]} == {"b", "c"}
    assert {name: row[:3] for name, row in marked.items()} == {name: row[:3] for name, row in before.items()}
    system = "external_id, xmin::text, missing_since"
    since = rows(catalog_settings, system)
    assert await passed(catalog, auth_process, "a", "mark") == counts(unchanged=1)
    assert rows(catalog_settings, system) == since, "what is marked already is not written"
    assert await passed(catalog, auth_process, "ab", "mark") == counts(unchanged=2)
    back = rows(catalog_settings)
    assert (back["b"], back["c"][3]) == (before["b"], True), "only the mark is taken back"
    assert await passed(catalog, auth_process, "abc", "mark", stock=1) == counts(updated=3)
    assert not any(row[3] for row in rows(catalog_settings).values())


async def test_removed_and_returned_with_its_id(
    catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
) -> None:
    await passed(catalog, auth_process, "abcd", "remove")
    before = rows(catalog_settings)
    await catalog.delete(f"/products/{before['d'][0]}", headers=auth_process.admin)
    assert await total(catalog) == 5
    assert await passed(catalog, auth_process, "a", "remove") == counts(unchanged=1, removed=2)
    assert await total(catalog) == 3
    assert (await catalog.get(f"/products/{before['b'][0]}")).status_code == 404
    assert await passed(catalog, auth_process, "a", "remove") == counts(unchanged=1), "they are removed once"
    assert await passed(catalog, auth_process, "abd", "remove", price=3) == counts(updated=2, deleted=1)
    back = (await catalog.get(f"/products/{before['b'][0]}")).json()
    assert (back["external_id"], back["price"], back["version"]) == ("b", 3, 3)
    assert (await catalog.get(f"/products/{before['d'][0]}")).status_code == 404, "an admin has deleted it"
    assert await total(catalog) == 4


async def test_a_product_that_an_admin_restores_and_deletes_stays_deleted(
    catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
) -> None:
    await passed(catalog, auth_process, "ab", "remove")
    await passed(catalog, auth_process, "a", "remove")
    path = f"/products/{rows(catalog_settings)['b'][0]}"
    assert (await catalog.post(f"{path}/restore", headers=auth_process.admin)).status_code == 200
    assert (await catalog.delete(path, headers=auth_process.admin)).status_code == 204
    assert await passed(catalog, auth_process, "ab", "remove") == counts(unchanged=1, deleted=1)


async def test_pins_survive_removal_and_return(
    catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
) -> None:
    await passed(catalog, auth_process, "ab", "remove")
    path = f"/products/{rows(catalog_settings)['b'][0]}"
    await catalog.put(path, json={"price": 77}, headers=auth_process.admin)
    await passed(catalog, auth_process, "a", "remove")
    assert await passed(catalog, auth_process, "ab", "remove", price=5, stock=2) == counts(updated=2)
    back = (await catalog.get(path)).json()
    assert (back["price"], back["stock"], back["pinned"]) == (77, 2, ["price"])


async def test_what_is_rejected_is_not_missing(
    catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
) -> None:
    await passed(catalog, auth_process, "ab", "remove")
    rejects = [{"external_id": "b", "reason": "price: must be a number", "payload": "{}"}]
    run = await Importer(catalog, auth_process).take([item("a")], rejects)
    assert await run.done("apply", missing="remove") == counts(unchanged=1, rejected=1)
    assert rows(catalog_settings)["b"][4]


async def test_missing_products_are_taken_in_pieces(
    catalog: httpx.AsyncClient, auth_process: Auth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "PIECE", 2)
    monkeypatch.setattr(steps, "CALL_SECONDS", 0)
    await Importer(catalog, auth_process).run([item(str(number)) for number in range(10)])
    run = await Importer(catalog, auth_process).take([item("0")])
    removed = []
    while True:
        progress = (await run.step("apply", missing="remove")).json()
        removed.append(progress["counts"]["removed"])
        if progress["done"]:
            break
    assert removed == [0, 0, 2, 4, 6, 8, 9, 9]
    assert await total(catalog) == 3
