"""Compare, plan, apply as planned, and undo: what is shown is what is done."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from catalog import steps
from catalog.settings import CatalogSettings
from tests.fixtures.catalog import Auth
from tests.fixtures.imports import Importer, connected, counts, item

STATE = "external_id, name, price, description, attributes, deleted_at IS NULL, pinned, stock"


@pytest.fixture(params=[2, 1000], ids=["many pieces", "one piece"], autouse=True)
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request does one piece, of so many records."""
    monkeypatch.setattr(steps, "PIECE", request.param)
    monkeypatch.setattr(steps, "CALL_SECONDS", 0)


def state(settings: CatalogSettings, columns: str = STATE) -> list[tuple[Any, ...]]:
    with connected(settings) as connection:
        return connection.execute(f"SELECT {columns} FROM catalog.products ORDER BY external_id").fetchall()


async def by_name(client: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    return {it["external_id"]: it for it in (await client.get("/products?limit=500")).json()["items"]}


async def prepared(client: httpx.AsyncClient, auth: Auth) -> dict[str, dict[str, Any]]:
    """Products a to g, of which c has a pinned price and d is deleted."""
    await Importer(client, auth).run([item(name) for name in "abcdefg"])
    found = await by_name(client)
    await client.put(f"/products/{found['c']['id']}", json={"price": 50}, headers=auth.admin)
    await client.delete(f"/products/{found['d']['id']}", headers=auth.admin)
    return await by_name(client)


def next_pass() -> list[dict[str, Any]]:
    """a and g are as they were, b changes, c in a pinned field; e and f are missing; h is new and comes twice."""
    changed = item("b", price=2.5, attributes={"n": 1.10})
    return [item("h", name="First"), item("a"), changed, item("c", price=9), item("d"), item("g"), item("h", stock=3)]


async def test_a_plan_is_compared_shown_and_applied(
    catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
) -> None:
    before = await prepared(catalog, auth_process)
    stored = state(catalog_settings)
    run = await Importer(catalog, auth_process).take(
        next_pass(), [{"external_id": "e", "reason": "price: must be a number", "payload": "{}", "position": 7}]
    )
    expected = counts(created=1, updated=1, unchanged=2, pinned=1, deleted=1, duplicates=1, rejected=1, removed=1)
    compared = (await run.step("compare", missing="remove")).json()
    figures = {"missing": 1, "live": 6, "median_price_change": 1.0, "price_changes": 1}
    assert compared == expected | figures, "e is rejected, not missing, and the price of c is pinned"
    assert await run.done("plan", missing="remove") == expected
    assert await run.done("plan") == expected, "a plan that is made is not made again"
    assert state(catalog_settings) == stored, "a plan changes nothing"
    page = await run.listed("changes")
    shown = {it["external_id"]: it for it in page["items"]}
    assert page["totals"] == {"created": 1, "changed": 1, "pinned": 1, "removed": 1}
    assert {name: it["kind"] for name, it in shown.items()} == {
        "h": "created", "b": "changed", "c": "pinned", "f": "removed",
    }  # fmt: skip
    assert shown["b"]["changes"] == {
        "price": {"old": 1.25, "new": 2.5}, "attributes": {"old": {}, "new": {"n": 1.1}},
    }  # fmt: skip
    assert shown["c"] | {"id": 0} == {
        "id": 0, "kind": "pinned", "external_id": "c", "product_id": before["c"]["id"], "name": "Thing c", "version": 2,
        "applied": False, "changes": {}, "pinned": {"price": {"old": 50, "new": 9}},
    }  # fmt: skip
    assert (shown["h"]["name"], shown["h"]["product_id"], shown["h"]["version"]) == ("Thing h", None, None)
    assert shown["h"]["changes"]["stock"] == {"old": None, "new": 3}
    assert await run.listed("conflicts") == {"items": [], "total": 0}
    assert await run.done("apply", planned=True) == expected
    after = await by_name(catalog)
    assert after.keys() == {"a", "b", "c", "e", "g", "h"}
    assert (after["b"]["price"], after["b"]["version"], after["c"]["price"]) == (2.5, 2, 50)
    assert after["h"]["stock"] == 3
    assert {name: it for name, it in after.items() if name in "aceg"} == {name: before[name] for name in "aceg"}
    assert {it["external_id"]: it["applied"] for it in (await run.listed("changes"))["items"]} == {
        "h": True, "b": True, "c": False, "f": True,
    }  # fmt: skip
    assert await run.done("apply", planned=True) == expected, "what is applied is not applied again"


async def test_what_changed_after_the_plan_is_left_and_named(
    catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
) -> None:
    await Importer(catalog, auth_process).run([item(name) for name in "abcde"])
    found = await by_name(catalog)
    items = [item(name, description="new") for name in "abc"]
    run = await Importer(catalog, auth_process).take([*items, item("e"), item("x"), item("y")])
    await run.done("plan", missing="remove")
    await catalog.put(f"/products/{found['b']['id']}", json={"price": 7}, headers=auth_process.admin)
    await catalog.put(f"/products/{found['d']['id']}", json={"stock": 7}, headers=auth_process.admin)
    with connected(catalog_settings) as connection:
        connection.execute(
            "INSERT INTO catalog.products (source, external_id, name, description, price, currency, category)"
            " VALUES ('shop', 'x', 'Somebody else', '', 1, 'USD', 'things')"
        )
    conflicts = await run.listed("conflicts")
    assert [(it["external_id"], it["expected"], it["current"]) for it in conflicts["items"]] == [
        ("b", 1, 2), ("x", None, 1), ("d", 1, 2),
    ]  # fmt: skip
    assert [it["name"] for it in conflicts["items"]] == ["Thing b", "Somebody else", "Thing d"]
    assert (await run.listed("conflicts", limit=1))["total"] == 3
    assert await run.done("apply", planned=True) == counts(created=1, updated=2, unchanged=3, conflicts=3)
    after = await by_name(catalog)
    assert {name: after[name]["description"] for name in "abc"} == {"a": "new", "b": "", "c": "new"}
    assert after.keys() == set("abcdexy")


async def test_changes_are_paged_and_filtered_also_of_an_ended_run(
    catalog: httpx.AsyncClient, auth_process: Auth
) -> None:
    run = Importer(catalog, auth_process)
    await run.run([item(str(number)) for number in range(5)])
    later = Importer(catalog, auth_process)
    await later.run([item(str(number), **({"price": 3} if number < 3 else {"stock": 1})) for number in range(7)])
    assert (await run.listed("changes"))["totals"] == {"created": 5}
    first = await later.listed("changes", limit=4)
    rest = await later.listed("changes", limit=4, after=first["next"])
    assert [it["external_id"] for it in first["items"] + rest["items"]] == ["0", "1", "2", "3", "4", "5", "6"]
    assert (first["totals"], rest["totals"], rest["next"]) == ({"changed": 5, "created": 2}, {}, None)
    changed = await later.listed("changes", kind="changed", field="stock")
    assert [it["external_id"] for it in changed["items"]] == ["3", "4"]
    for wrong in ("kind=none", "field=id", "after=-1", "limit=0", "limit=1001"):
        answer = await catalog.get(f"{later.url}/changes?{wrong}", headers=later.headers)
        assert answer.status_code == 422, answer.text


async def test_a_run_is_undone_where_nobody_touched_it(
    catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
) -> None:
    await prepared(catalog, auth_process)
    gone = await Importer(catalog, auth_process).take([item(name) for name in "abcdef"])
    await gone.done("apply", missing="remove")
    before = state(catalog_settings)
    bad = await Importer(catalog, auth_process).take([*next_pass(), item("i")])
    assert (await bad.done("apply", missing="remove"))["removed"] == 2
    after = await by_name(catalog)
    await catalog.put(f"/products/{after['i']['id']}", json={"stock": 5}, headers=auth_process.admin)
    undo = Importer(catalog, auth_process)
    await undo.open()
    planned = await undo.done("revert", of=str(bad.run_id))
    assert planned == counts() | {"updated": 3, "removed": 3}
    kinds = {it["external_id"]: it["kind"] for it in (await undo.listed("changes"))["items"]}
    assert kinds == {
        "h": "deleted", "i": "deleted", "b": "changed", "e": "returned", "f": "returned", "g": "removed",
    }  # fmt: skip
    assert [it["external_id"] for it in (await undo.listed("conflicts"))["items"]] == ["i"]
    assert await undo.done("apply", planned=True) == counts() | {"updated": 3, "removed": 2, "conflicts": 1}
    assert [row for row in state(catalog_settings) if row[0] not in "hi"] == before
    again = await Importer(catalog, auth_process).take(next_pass())
    assert (await again.done("apply"))["deleted"] == 2, "what was created by mistake does not come back"
    assert "h" not in await by_name(catalog)


async def test_there_is_no_such_plan(catalog: httpx.AsyncClient, auth_process: Auth) -> None:
    other = Importer(catalog, auth_process, source="other")
    await other.run([item("a")])
    run = await Importer(catalog, auth_process).take([item("a")])
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("apply", {"planned": True}),
        ("revert", {"of": str(uuid4())}),
        ("revert", {"of": str(other.run_id)}),
        ("revert", {"of": str(run.run_id)}),
    ]
    for step, body in wrong:
        answer = await run.step(step, **body)
        assert (answer.status_code, answer.json()["type"].rpartition("#")[2]) == (409, "no-plan")
    await run.done("apply")
    for step in ("plan", "compare"):
        assert (await run.step(step)).status_code == 409


async def test_a_plan_can_be_given_up_for_what_is_staged(catalog: httpx.AsyncClient, auth_process: Auth) -> None:
    run = await Importer(catalog, auth_process).take([item(name) for name in "abc"])
    await run.done("plan")
    assert await run.done("apply") == counts(created=3)
    assert (await run.listed("changes"))["totals"] == {"created": 3}


async def test_a_stale_worker_does_nothing(catalog: httpx.AsyncClient, auth_process: Auth) -> None:
    run = await Importer(catalog, auth_process, fence=2).take([item("a")])
    late = Importer(catalog, auth_process, run.run_id, fence=1)
    for step, body in (("compare", {}), ("plan", {}), ("apply", {}), ("revert", {"of": str(uuid4())})):
        assert (await late.step(step, **body)).json()["type"].endswith("#stale-import")
    assert (await late.discard()).status_code == 409
    assert await run.done("apply") == counts(created=1)


@pytest.mark.parametrize("step", ["compare", "plan", "apply"])
async def test_an_incomplete_pass_is_refused(catalog: httpx.AsyncClient, auth_process: Auth, step: str) -> None:
    run = Importer(catalog, auth_process)
    await run.open()
    await run.stage(None, "p2", [item("a")])
    answer = await run.step(step)
    assert answer.status_code == 409
    assert answer.json()["type"].endswith("#stale-import")
