"""Many sources: made, changed and deleted by admins, each synced on its own schedule, by any worker."""

import asyncio
import functools
import time
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import redis

from sync.app import build
from tests.fixtures.catalog import Auth
from tests.fixtures.service import serving
from tests.fixtures.waiting import eventually, until
from tests.integration.sync.conftest import Admin, Feed, Launch, Make

Rows = psycopg.Connection[Any]
ENTRIES = "rq:scheduler:scheduled_jobs"


@pytest.fixture
async def api(
    settings_of: Make, auth_process: Auth, catalog_process: str, products: Rows, feed: Feed
) -> AsyncIterator[Admin]:
    """No worker, no scheduler."""
    settings = settings_of(auth_url=auth_process.url, catalog_url=catalog_process, external_api_url=feed.url)
    async with serving(build(settings)) as client:
        yield Admin(client, auth_process)


def source(feed: Feed, name: str = "shop", **more: Any) -> dict[str, Any]:
    return {"name": name, "provider": "dummyjson", "url": feed.url} | more


class TestCrud:
    async def test_made_read_changed_and_deleted(self, api: Admin, feed: Feed) -> None:
        made = await api.call("POST", "/sync/sources", 201, **source(feed, limits={"page_size": 50}))
        assert (made["interval_minutes"], made["cron"], made["missing"], made["auto_apply"]) == (30, None, "keep", True)
        assert (made["limits"]["page_size"], made["limits"]["max_records"]) == (50, 5_000_000)
        assert made["brake"] == {"missing": 0.2, "price_change": 0.5, "rejected": 0.1}
        assert await api.call("GET", "/sync/sources/shop") == made
        listed = (await api.call("GET", "/sync/sources"))["items"]
        assert [(it["name"], it["managed_by"]) for it in listed] == [("dummyjson", "environment"), ("shop", "api")]
        changed = await api.call(
            "PATCH", "/sync/sources/shop", cron="0 3 * * *", timezone="Europe/Berlin", enabled=False
        )
        assert changed == made | {
            "cron": "0 3 * * *", "timezone": "Europe/Berlin", "interval_minutes": None, "enabled": False,
            "updated_at": changed["updated_at"],
        }  # fmt: skip
        await api.call("DELETE", "/sync/sources/shop", 204)
        assert (await api.call("GET", "/sync/sources/shop", 404))["type"].endswith("source-not-found")
        assert [it["name"] for it in (await api.call("GET", "/sync/sources"))["items"]] == ["dummyjson"]

    async def test_a_patch_keeps_what_it_does_not_name(self, api: Admin, feed: Feed) -> None:
        await api.call("POST", "/sync/sources", 201, **source(feed, limits={"page_size": 50}, brake={"missing": 0.5}))
        changed = await api.call("PATCH", "/sync/sources/shop", limits={"max_pages": 7}, brake={"rejected": None})
        assert (changed["limits"]["page_size"], changed["limits"]["max_pages"]) == (50, 7)
        assert changed["brake"] == {"missing": 0.5, "price_change": 0.5, "rejected": 0.1}

    @pytest.mark.parametrize(
        ("more", "pointer"),
        [
            ({"name": "Shop"}, "#/name"),
            ({"provider": "nobody"}, "#/provider"),
            ({"provider": "rest"}, "#/options"),
            ({"options": {"odd": 1}}, "#/options"),
            ({"options": {"x": "y" * 13_000}}, "#/options"),
            ({"url": "ftp://a/b"}, "#/url"),
            ({"url": "https://me:secret@a.example/b"}, "#/url"),
            ({"url": "https://a.example/b?key=secret"}, "#/url"),
            ({"url": "https:///b"}, "#/url"),
            ({"cron": "* * * *"}, "#/cron"),
            ({"cron": "0 3 * * *", "timezone": "Mars/Base"}, "#/timezone"),
            ({"interval_minutes": 0}, "#/interval_minutes"),
            ({"interval_minutes": 5, "cron": "0 3 * * *"}, "#"),
            ({"missing": "burn"}, "#/missing"),
            ({"limits": {"page_size": 501}}, "#/limits"),
            ({"limits": {"pages": 1}}, "#/limits"),
            ({"brake": {"missing": 2}}, "#/brake"),
            ({"odd": 1}, "#/odd"),
        ],
    )
    async def test_what_is_not_valid_is_named(self, api: Admin, feed: Feed, more: dict[str, Any], pointer: str) -> None:
        problem = await api.call("POST", "/sync/sources", 422, **source(feed) | more)
        assert problem["errors"][0]["pointer"] == pointer, problem
        assert "secret" not in str(problem["errors"])
        assert (await api.call("GET", "/sync/sources/shop", 404))["status"] == 404

    async def test_names_are_unique(self, api: Admin, feed: Feed) -> None:
        await api.call("POST", "/sync/sources", 201, **source(feed))
        for name in ("shop", "dummyjson"):
            await api.call("GET", "/sync/sources")
            assert (await api.call("POST", "/sync/sources", 409, **source(feed, name)))["type"].endswith(
                "source-conflict"
            )

    async def test_of_two_who_change_it_at_once_one_is_told(self, api: Admin, feed: Feed) -> None:
        await api.call("POST", "/sync/sources", 201, **source(feed))
        answers = await asyncio.gather(
            *(
                api.client.patch("/sync/sources/shop", json={"limits": {"max_pages": 10 + n}}, headers=api.auth.admin)
                for n in range(10)
            )
        )
        won = [it.json()["limits"]["max_pages"] for it in answers if it.status_code == 200]
        assert {it.status_code for it in answers} <= {200, 409}
        assert (await api.call("GET", "/sync/sources/shop"))["limits"]["max_pages"] in won

    async def test_the_environment_keeps_what_is_its_own(self, api: Admin, feed: Feed) -> None:
        for patch in (
            {"url": "https://b.example/"},
            {"provider": "fakestore"},
            {"interval_minutes": 5},
            {"cron": "0 3 * * *"},
        ):
            problem = await api.call("PATCH", "/sync/sources/dummyjson", 409, **patch)
            assert "set by the environment" in problem["detail"]
        assert (await api.call("PATCH", "/sync/sources/dummyjson", missing="remove"))["missing"] == "remove"
        assert (await api.call("DELETE", "/sync/sources/dummyjson", 409))["type"].endswith("source-conflict")

    @pytest.mark.parametrize(
        "route",
        [
            "GET /sync/sources", "POST /sync/sources", "GET /sync/sources/a", "PATCH /sync/sources/a",
            "DELETE /sync/sources/a", "POST /sync/sources/a/move", "GET /sync/runs",
        ],
    )  # fmt: skip
    async def test_admins_only(self, api: Admin, auth_process: Auth, route: str) -> None:
        for headers, status in (({}, 401), (auth_process.user, 403), (auth_process.sync, 403)):
            assert (await api.client.request(*route.split(), headers=headers)).status_code == status

    async def test_private_addresses_where_they_are_not_allowed(
        self, settings_of: Make, auth_process: Auth, feed: Feed, launch: Launch
    ) -> None:
        settings = settings_of(auth_url=auth_process.url, external_api_url=feed.url, allow_private_sources=False)
        until(launch("work", ALLOW_PRIVATE_SOURCES="false").healthy)
        async with serving(build(settings)) as client:
            admin = Admin(client, auth_process)
            await admin.call("POST", "/sync/sources", 201, **source(feed))
            refused = await admin.trigger(source="shop")
            assert refused["state"] == "failed"
            assert "ALLOW_PRIVATE_SOURCES" in refused["error"]
            assert feed.asked == []
            # That of the environment is where the operator says.
            assert (await admin.trigger())["state"] == "succeeded"


class TestSync:
    async def test_each_has_its_own_products_and_schedule(
        self, api: Admin, launch: Launch, feed: Feed, products: Rows, valkey: "redis.Redis"
    ) -> None:
        until(launch("work").healthy)
        until(launch("schedule").healthy)
        await api.call("POST", "/sync/sources", 201, **source(feed, "one", interval_minutes=60))
        await api.call("POST", "/sync/sources", 201, **source(feed, "two", cron="0 3 * * *"))
        counted = "SELECT source, count(*) FROM catalog.products GROUP BY source ORDER BY source"
        await eventually(
            lambda: products.execute(counted).fetchall() == [("dummyjson", 194), ("one", 194), ("two", 194)]
        )
        for name in ("one", "two"):
            await eventually(functools.partial(valkey.zscore, ENTRIES, f"tick-{name}"))
        at = {name: valkey.zscore(ENTRIES, f"tick-{name}") or 0.0 for name in ("one", "two")}
        assert at["one"] % 3600 == 0
        assert time.gmtime(at["two"])[3:5] == (3, 0)
        status = {it["source"]: it for it in (await api.call("GET", "/sync/status"))["sources"]}
        assert status["two"]["cron"] == "0 3 * * *"
        assert status["two"]["next_tick_at"].endswith("03:00:00Z")
        await api.call("PATCH", "/sync/sources/one", enabled=False)
        await eventually(lambda: valkey.zscore(ENTRIES, "tick-one") is None)
        await api.call("DELETE", "/sync/sources/two", 204)
        await eventually(lambda: valkey.zscore(ENTRIES, "tick-two") is None)
        assert valkey.zscore(ENTRIES, "tick-dummyjson")

    async def test_a_tick_makes_a_run_of_its_source(
        self, api: Admin, launch: Launch, feed: Feed, valkey: "redis.Redis", rows: Rows
    ) -> None:
        until(launch("work").healthy)
        await api.call("POST", "/sync/sources", 201, **source(feed, cron="0 3 * * *"))
        assert (await api.trigger(source="shop"))["state"] == "succeeded"
        launch("schedule")
        await eventually(lambda: valkey.zscore(ENTRIES, "tick-shop"))
        valkey.zadd(ENTRIES, {"tick-shop": time.time() - 1})
        ticked = "SELECT slot FROM sync.runs WHERE source = 'shop' AND trigger = 'schedule' AND state = 'succeeded'"
        ((slot,),) = await eventually(lambda: rows.execute(ticked).fetchall())
        assert time.gmtime(slot)[3:6] == (3, 0, 0)
        assert slot <= time.time()


class TestAnotherAddress:
    async def test_of_the_environment_an_admin_says_what_it_means(
        self, api: Admin, launch: Launch, settings_of: Make, auth_process: Auth, catalog_process: str, feed: Feed,
        products: Rows,
    ) -> None:  # fmt: skip
        worker = launch("work")
        until(worker.healthy)
        assert (await api.trigger())["state"] == "succeeded"
        worker.stop()
        moved_url = feed.url.replace("/products", "/other")
        until(launch("work", EXTERNAL_API_URL=moved_url).healthy)
        settings = settings_of(auth_url=auth_process.url, catalog_url=catalog_process, external_api_url=moved_url)
        async with serving(build(settings)) as client:
            moved = Admin(client, auth_process)
            asked = len(feed.asked)
            problem = await moved.call("POST", "/sync/trigger", 409)
            assert problem["type"].endswith("source-moved")
            (status,) = (await moved.call("GET", "/sync/status"))["sources"]
            assert "/sync/sources/dummyjson/move" in status["waits_for"]
            assert len(feed.asked) == asked
            same = await moved.call("POST", "/sync/sources/dummyjson/move", shop="same")
            assert (same["url"], same["product_source"]) == (moved_url, "dummyjson")
            again = await moved.trigger()
            assert (again["state"], again["counts"]["unchanged"]) == ("succeeded", 194)
            assert (await moved.call("POST", "/sync/sources/dummyjson/move", 409, shop="same"))["status"] == 409

    async def test_of_the_api_another_shop_keeps_the_products_apart(
        self, api: Admin, launch: Launch, feed: Feed, products: Rows
    ) -> None:
        until(launch("work").healthy)
        await api.call("POST", "/sync/sources", 201, **source(feed))
        assert (await api.trigger(source="shop"))["state"] == "succeeded"
        other = feed.url.replace("/products", "/other")
        assert (await api.call("PATCH", "/sync/sources/shop", 409, url=other))["type"].endswith("source-moved")
        changed = await api.call("PATCH", "/sync/sources/shop", url=other, shop="other")
        assert changed["product_source"] == "shop-2"
        feed.products = feed.products[:10]
        run = await api.trigger(source="shop")
        assert (run["state"], run["counts"]["created"]) == ("succeeded", 10)
        counted = "SELECT source, count(*) FROM catalog.products GROUP BY source ORDER BY source"
        assert products.execute(counted).fetchall() == [("shop", 194), ("shop-2", 10)]
        assert (await api.call("POST", "/sync/sources", 409, **source(feed, "shop-2")))["status"] == 409

    async def test_what_a_run_reads_does_not_change_under_it(self, api: Admin, feed: Feed) -> None:
        await api.call("POST", "/sync/sources", 201, **source(feed))
        run_id = (await api.call("POST", "/sync/trigger", 202, source="shop"))["run_id"]
        for patch in (
            {"url": feed.url + "/b"},
            {"provider": "fakestore"},
            {"options": {"a": 1}},
        ):
            problem = await api.call("PATCH", "/sync/sources/shop", 409, **patch)
            assert "is active" in problem["detail"]
        assert (await api.call("PATCH", "/sync/sources/shop", limits={"max_pages": 7}))["limits"]["max_pages"] == 7
        await api.call("POST", f"/sync/runs/{run_id}/cancel")
        assert (await api.call("PATCH", "/sync/sources/shop", url=feed.url + "/b"))["url"] == feed.url + "/b"

    async def test_a_deleted_one_leaves_its_products_to_the_same_address_alone(
        self, api: Admin, launch: Launch, feed: Feed, products: Rows
    ) -> None:
        until(launch("work").healthy)
        await api.call("POST", "/sync/sources", 201, **source(feed))
        await api.trigger(source="shop")
        await api.call("DELETE", "/sync/sources/shop", 204)
        assert (await api.call("POST", "/sync/trigger", 404, source="shop"))["type"].endswith("source-not-found")
        again = await api.call("POST", "/sync/sources", 201, **source(feed))
        assert again["product_source"] == "shop"
        await api.call("DELETE", "/sync/sources/shop", 204)
        other = await api.call("POST", "/sync/sources", 201, **source(feed, url=feed.url + "/b"))
        assert other["product_source"] == "shop-2"
