"""Runs that an admin sees before they are applied, holds up, undoes and repeats; all processes are real."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from sync import queue
from sync.events import Streams
from tests.fixtures.waiting import eventually
from tests.integration.sync.conftest import Admin, Feed, Gate, Make, product

Rows = psycopg.Connection[Any]


def prices(products: Rows) -> dict[str, str]:
    found = products.execute(
        "SELECT external_id, price::text FROM catalog.products WHERE deleted_at IS NULL ORDER BY id"
    ).fetchall()
    return dict(found)


class TestPlan:
    async def test_it_shows_what_it_then_applies(self, admin: Admin, feed: Feed, products: Rows) -> None:
        products.execute("UPDATE catalog.products SET pinned = '{name}', version = 2 WHERE external_id = '3'")
        before = prices(products)
        feed.products[0] |= {"price": 12.5, "title": "Renamed"}
        feed.products[2] |= {"title": "Pinned"}
        feed.products.append(product(195))
        plan = await admin.trigger(mode="plan")
        assert (plan["state"], plan["mode"], plan["counts"]["created"], plan["counts"]["updated"]) == (
            "staged", "plan", 1, 1,
        )  # fmt: skip
        assert prices(products) == before
        page = await admin.call("GET", f"/sync/runs/{plan['id']}/diff")
        changes = {it["external_id"]: it for it in page["items"]}
        assert changes["1"]["changes"] == {
            "price": {"old": 9.99, "new": 12.5}, "name": {"old": "Product 1", "new": "Renamed"},
        }  # fmt: skip
        assert changes["3"]["pinned"] == {"name": {"old": "Product 3", "new": "Pinned"}}
        assert (changes["195"]["kind"], changes["195"]["product_id"]) == ("created", None)
        only = await admin.call("GET", f"/sync/runs/{plan['id']}/diff?kind=created&limit=1")
        assert [it["external_id"] for it in only["items"]] == ["195"]
        accepted = await admin.call("POST", f"/sync/runs/{plan['id']}/apply", 202)
        applied = await admin.ended(accepted["run_id"])
        assert (applied["id"], applied["state"], applied["counts"]["updated"]) == (plan["id"], "succeeded", 1)
        assert prices(products) == before | {"1": "12.50", "195": "9.99"}
        after = await admin.call("GET", f"/sync/runs/{plan['id']}/diff")
        assert [it["applied"] for it in after["items"] if it["kind"] != "pinned"] == [True, True]

    async def test_apply_names_the_products_that_have_changed_since(
        self, admin: Admin, feed: Feed, products: Rows
    ) -> None:
        feed.products[0] |= {"price": 12.5}
        plan = await admin.trigger(mode="plan")
        products.execute("UPDATE catalog.products SET version = version + 1 WHERE external_id = '1'")
        before = prices(products)
        problem = await admin.call("POST", f"/sync/runs/{plan['id']}/apply", 409)
        assert problem["type"].endswith("products-changed")
        assert [it["external_id"] for it in problem["conflicts"]] == ["1"]
        assert str(problem["conflicts"][0]["product_id"]) in problem["detail"]
        assert prices(products) == before
        assert (await admin.call("GET", f"/sync/runs/{plan['id']}"))["state"] == "staged"

    async def test_a_newer_run_ends_it(self, admin: Admin, feed: Feed, products: Rows) -> None:
        feed.products[0] |= {"price": 12.5}
        plan = await admin.trigger(mode="plan")
        assert (await admin.trigger())["state"] == "succeeded"
        ended = await admin.call("GET", f"/sync/runs/{plan['id']}")
        assert (ended["state"], ended["error"]) == ("cancelled", "a newer run of the source has begun")
        assert (await admin.call("POST", f"/sync/runs/{plan['id']}/apply", 409))["type"].endswith("wrong-state")

    async def test_a_source_may_always_be_planned(self, admin: Admin, feed: Feed, products: Rows) -> None:
        await admin.call("PATCH", "/sync/sources/dummyjson", auto_apply=False)
        feed.products[0] |= {"price": 12.5}
        run = await admin.trigger()
        assert (run["state"], run["mode"]) == ("staged", "apply")
        assert prices(products)["1"] == "9.99"


class TestBrake:
    @pytest.mark.parametrize(
        ("products_of", "reason"),
        [
            (lambda them: [], "It lacks 194 of the 194 products"),
            (lambda them: them[:100], "It lacks 94 of the 194 products"),
            (lambda them: [it | {"price": 999} for it in them], "Half of the 194 changed prices change by"),
            (lambda them: [it | ({"price": None} if it["id"] % 8 == 0 else {}) for it in them], "24 of 194 records"),
        ],
        ids=["nothing", "half", "prices", "rejects"],
    )
    async def test_an_unusual_pass_waits_for_an_admin(
        self, admin: Admin, feed: Feed, products: Rows, products_of: Any, reason: str
    ) -> None:
        before, last = prices(products), (await admin.call("GET", "/sync/status"))["sources"][0]["last_success_at"]
        usual = feed.products
        feed.products = products_of(usual)
        held = await admin.trigger()
        assert held["state"] == "held"
        assert reason in held["held_for"]
        assert prices(products) == before
        (source,) = (await admin.call("GET", "/sync/status"))["sources"]
        assert (source["last_success_at"], source["active_run"]["id"]) == (last, held["id"])
        assert held["id"] in source["waits_for"]
        # The next run would be as unusual: it does not begin.
        assert (await admin.call("POST", "/sync/trigger", 202))["run_id"] == held["id"]
        feed.products = usual
        assert (await admin.call("POST", f"/sync/runs/{held['id']}/cancel"))["state"] == "cancelled"
        again = await admin.trigger()
        assert (again["state"], again["counts"]["unchanged"]) == ("succeeded", 194)

    async def test_a_held_pass_is_applied_as_it_was_shown(self, admin: Admin, feed: Feed, products: Rows) -> None:
        await admin.call("PATCH", "/sync/sources/dummyjson", missing="remove")
        feed.products = feed.products[:100]
        held = await admin.trigger()
        assert held["state"] == "held"
        totals = (await admin.call("GET", f"/sync/runs/{held['id']}/diff?limit=1"))["totals"]
        assert totals == {"removed": 94}
        await admin.call("POST", f"/sync/runs/{held['id']}/apply", 202)
        applied = await admin.ended(held["id"])
        assert (applied["state"], applied["counts"]["removed"]) == ("succeeded", 94)
        assert len(prices(products)) == 100

    async def test_thresholds_are_the_sources(self, admin: Admin, feed: Feed) -> None:
        await admin.call("PATCH", "/sync/sources/dummyjson", brake={"missing": 0.6})
        feed.products = feed.products[:100]
        assert (await admin.trigger())["state"] == "succeeded"
        feed.products = feed.products[:10]
        assert (await admin.trigger())["state"] == "held"

    async def test_a_few_new_prices_and_few_missing_are_usual(self, admin: Admin, feed: Feed) -> None:
        feed.products = [it | ({"price": 99} if it["id"] < 10 else {}) for it in feed.products[:180]]
        assert (await admin.trigger())["state"] == "succeeded"


class TestRevert:
    async def test_it_restores_what_nobody_touched_since(self, admin: Admin, feed: Feed, products: Rows) -> None:
        before = prices(products)
        for number in (0, 1, 2):
            feed.products[number] |= {"price": 12.5}
        feed.products.append(product(195))
        run = await admin.trigger()
        products.execute(
            "UPDATE catalog.products SET price = 77, pinned = '{price}', version = version + 1 WHERE external_id = '2'"
        )
        accepted = await admin.call("POST", f"/sync/runs/{run['id']}/revert", 202, mode="plan")
        plan = await admin.ended(accepted["run_id"])
        assert (plan["state"], plan["kind"], plan["reverts"]) == ("staged", "revert", run["id"])
        diff = await admin.call("GET", f"/sync/runs/{plan['id']}/diff")
        assert {it["external_id"] for it in diff["items"]} >= {"1", "3", "195"}
        await admin.call("POST", f"/sync/runs/{plan['id']}/cancel")
        reverted = await admin.ended((await admin.call("POST", f"/sync/runs/{run['id']}/revert", 202))["run_id"])
        assert (reverted["state"], reverted["counts"]["conflicts"]) == ("succeeded", 1), reverted
        assert prices(products) == before | {"2": "77.00"}

    async def test_only_what_succeeded(self, admin: Admin, feed: Feed) -> None:
        plan = await admin.trigger(mode="plan")
        assert (await admin.call("POST", f"/sync/runs/{plan['id']}/revert", 409))["type"].endswith("wrong-state")
        for step in ("apply", "cancel", "retry", "revert"):
            assert (await admin.call("POST", f"/sync/runs/{uuid4()}/{step}", 404))["type"].endswith("run-not-found")


class TestCancelAndRetry:
    async def test_a_running_one_stops_before_it_changes_anything(
        self, admin: Admin, feed: Feed, products: Rows, rows: Rows
    ) -> None:
        before = prices(products)
        feed.products = [it | {"price": 10.5} for it in feed.products]
        feed.before = gate = Gate(at=100)
        run_id = (await admin.call("POST", "/sync/trigger", 202))["run_id"]
        await eventually(gate.reached.is_set)
        assert (await admin.call("POST", f"/sync/runs/{run_id}/cancel"))["state"] == "cancelled"
        gate.opened.set()
        assert (await admin.call("POST", f"/sync/runs/{run_id}/cancel", 409))["detail"].endswith("it has ended.")
        feed.before = lambda skip: None
        again = await admin.ended((await admin.call("POST", f"/sync/runs/{run_id}/retry", 202))["run_id"])
        assert (again["state"], again["counts"]["updated"]) == ("succeeded", 194)
        assert before != prices(products)
        assert (await admin.call("POST", f"/sync/runs/{again['id']}/retry", 409))["type"].endswith("wrong-state")

    async def test_one_that_is_being_applied_is_not_cancelled(self, admin: Admin, rows: Rows) -> None:
        applying = (
            "INSERT INTO sync.runs (source, trigger, state) VALUES ('dummyjson', 'manual', 'applying') RETURNING id"
        )
        (run_id,) = rows.execute(applying).fetchone()  # type: ignore[misc]
        problem = await admin.call("POST", f"/sync/runs/{run_id}/cancel", 409)
        assert problem["type"].endswith("wrong-state")
        assert "revert it" in problem["detail"]

    async def test_a_run_after_one_that_failed_for_a_while_goes_on_after_its_last_page(
        self, admin: Admin, feed: Feed
    ) -> None:
        feed.before = lambda skip: (404, b"{}") if skip else None
        refused = await admin.trigger()
        assert (refused["state"], refused["retry_at"]) == ("failed", None)
        feed.before = lambda skip: (503, b"{}") if skip else None
        failed = await admin.trigger()
        assert failed["state"] == "failed"
        assert failed["retry_at"]
        feed.before = lambda skip: None
        feed.asked.clear()
        assert (await admin.trigger())["state"] == "succeeded"
        assert feed.asked == [100]
        feed.before = lambda skip: (503, b"{}") if skip else None
        await admin.trigger()
        feed.before = lambda skip: None
        feed.asked.clear()
        assert (await admin.trigger(full=True))["state"] == "succeeded"
        assert feed.asked == [0, 100]

    @pytest.mark.parametrize("how", ["changed", "planned"])
    async def test_it_begins_anew_for_a_plan_and_after_a_change_of_its_source(
        self, admin: Admin, feed: Feed, how: str
    ) -> None:
        feed.before = lambda skip: (503, b"{}") if skip else None
        assert (await admin.trigger())["retry_at"]
        feed.before = lambda skip: None
        if how == "changed":
            await admin.call("PATCH", "/sync/sources/dummyjson", limits={"max_pages": 77})
        feed.asked.clear()
        await admin.trigger(**({"mode": "plan"} if how == "planned" else {}))
        assert feed.asked == [0, 100]


class TestTakeover:
    """The last worker has died after catalog had applied all, and before the run was told to have ended."""

    @pytest.fixture
    def forgets(self, admin: Admin, rows: Rows, valkey: Any, settings_of: Make) -> Callable[[str], None]:
        def forget(run_id: str) -> None:
            rows.execute(
                "UPDATE sync.runs SET state = 'applying', finished_at = NULL, lease_until = now() - interval '1 s' "
                "WHERE id = %s",
                [run_id],
            )
            assert queue.enqueue(valkey, UUID(run_id), 99)

        return forget

    @pytest.mark.parametrize("kind", ["sync", "approved", "revert"])
    async def test_the_next_one_ends_it_as_it_was(
        self, admin: Admin, feed: Feed, products: Rows, forgets: Callable[[str], None], kind: str
    ) -> None:
        feed.products[0] |= {"price": 12.5}
        run = await admin.trigger(**({"mode": "plan"} if kind == "approved" else {}))
        if kind == "approved":
            await admin.call("POST", f"/sync/runs/{run['id']}/apply", 202)
            run = await admin.ended(run["id"])
        if kind == "revert":
            run = await admin.ended((await admin.call("POST", f"/sync/runs/{run['id']}/revert", 202))["run_id"])
        assert (run["state"], run["counts"]["updated"]) == ("succeeded", 1)
        before = prices(products)
        forgets(run["id"])
        again = await admin.ended(run["id"])
        assert (again["state"], again["attempt"], again["counts"]) == ("succeeded", run["attempt"] + 1, run["counts"])
        assert prices(products) == before


class TestHistory:
    async def test_runs_by_source_and_state_in_pages(self, admin: Admin, feed: Feed) -> None:
        for _ in range(3):
            await admin.trigger()
        plan = await admin.trigger(mode="plan")
        seen, path = [], "/sync/runs?limit=2"
        while path:
            page = await admin.call("GET", path)
            seen += [it["id"] for it in page["items"]]
            path = page["next"]
        assert len(seen) == len(set(seen)) == 5
        assert seen[0] == plan["id"]
        (staged,) = (await admin.call("GET", "/sync/runs?state=staged&source=dummyjson"))["items"]
        assert staged["id"] == plan["id"]
        assert (await admin.call("GET", "/sync/runs?source=other"))["items"] == []
        assert (await admin.call("GET", "/sync/runs?state=odd", 422))["type"].endswith("validation")

    async def test_old_ones_are_pruned_except_the_newest_and_the_newest_success(
        self, admin: Admin, feed: Feed, rows: Rows, products: Rows
    ) -> None:
        feed.products[0] |= {"price": 12.5}
        changed = await admin.trigger()
        feed.before = lambda skip: (404, b"{}")
        failed = await admin.trigger()
        for column in ("created_at", "finished_at"):
            rows.execute(f"UPDATE sync.runs SET {column} = {column} - interval '31 days'")
        products.execute("UPDATE catalog.import_runs SET created_at = created_at - interval '31 days'")
        assert (await admin.trigger())["state"] == "failed"
        kept = {it["id"] for it in (await admin.call("GET", "/sync/runs"))["items"]}
        assert {changed["id"], failed["id"]} < kept, "only a success prunes"
        feed.before = lambda skip: None
        newest = await admin.trigger()
        listed = "SELECT id::text FROM sync.runs ORDER BY created_at"
        await eventually(lambda: len(rows.execute(listed).fetchall()) == 2)
        kept = {it["id"] for it in (await admin.call("GET", "/sync/runs"))["items"]}
        assert newest["id"] in kept
        assert not {changed["id"], failed["id"]} & kept
        await eventually(lambda: products.execute("SELECT count(*) FROM catalog.run_changes").fetchone() == (0,))

    async def test_rejects_with_their_reasons(self, admin: Admin, feed: Feed) -> None:
        feed.products[4] |= {"price": "free"}
        run = await admin.trigger()
        (reject,) = (await admin.call("GET", f"/sync/runs/{run['id']}/rejects"))["items"]
        assert (reject["external_id"], reject["reason"].partition(":")[0]) == ("5", "price")
        assert "free" in reject["payload"]


class TestEvents:
    @pytest.fixture
    async def streams(self, admin: Admin) -> AsyncIterator[httpx.AsyncClient]:
        headers = admin.auth.admin | {"Accept": "text/event-stream"}
        base_url = admin.client.base_url
        async with httpx.AsyncClient(base_url=base_url, headers=headers, timeout=60) as client:  # unchecked: streams
            yield client

    async def test_a_run_is_followed_to_its_end(self, admin: Admin, streams: httpx.AsyncClient, feed: Feed) -> None:
        feed.before = gate = Gate(at=100)
        run_id = (await admin.call("POST", "/sync/trigger", 202))["run_id"]
        seen: list[dict[str, Any]] = []
        async with streams.stream("GET", f"/sync/runs/{run_id}/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    seen.append(json.loads(line[6:]))
                    if seen[-1]["pages"] == 1:
                        gate.opened.set()
        assert seen[-1]["state"] == "succeeded"
        assert seen[-1]["counts"]["fetched"] == 194
        assert len(seen) > 1
        assert (await admin.call("GET", f"/sync/runs/{uuid4()}/events", 404))["status"] == 404

    async def test_followers_are_limited(
        self, admin: Admin, streams: httpx.AsyncClient, feed: Feed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Streams, "MOST", 1)
        feed.before = gate = Gate(at=100)
        path = f"/sync/runs/{(await admin.call('POST', '/sync/trigger', 202))['run_id']}/events"
        async with streams.stream("GET", path) as answer:
            assert answer.status_code == 200
            refused = await admin.client.get(path, headers=admin.auth.admin)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        gate.opened.set()
        deadline = time.monotonic() + 60
        while (await streams.get(path)).status_code == 503:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
