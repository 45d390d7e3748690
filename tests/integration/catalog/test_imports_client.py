"""Sync's client and catalog's routes speak of the same."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest

from imports.counts import Counts
from imports.messages import Comparison, Difference, Reject
from imports.product import ExternalProduct
from sync.catalog import CatalogClient, CatalogRejected
from sync.providers import Page
from sync.settings import SyncSettings
from tests.fixtures.catalog import Auth
from tests.fixtures.processes import SECRET


def product(name: str, price: str = "1.10", **fields: Any) -> ExternalProduct:
    return ExternalProduct(external_id=name, name=name, price=Decimal(price), category="things", **fields)


@pytest.fixture
async def sync(catalog: httpx.AsyncClient, auth_process: Auth) -> AsyncIterator[CatalogClient]:
    settings = SyncSettings.model_validate(
        {
            "database_url": "postgresql://sync_svc:none@127.0.0.1:1/products",
            "redis_url": "redis://127.0.0.1:1",
            "sync_client_secret": SECRET,
            "catalog_url": str(catalog.base_url).rstrip("/"),
            "auth_url": auth_process.url,
        }
    )
    async with httpx.AsyncClient() as http:  # unchecked: the worker's own
        yield CatalogClient(settings, http, retry_seconds=0)


async def test_a_run_from_the_first_page_to_its_undoing(sync: CatalogClient, catalog: httpx.AsyncClient) -> None:
    first = await sync.open("shop", uuid4(), 1)
    await first.stage(Page(items=(product("a"), product("b"), product("c"))))
    assert await first.apply() == Counts(fetched=3, created=3)

    run_id = uuid4()
    second = await sync.open("shop", run_id, 1)
    rejected = Reject(external_id="x", reason="price: must be a number", payload="{}", position=3)
    attributes = {"weight": Decimal("0.1")}
    await second.stage(Page(items=(product("a"), product("b", "2.20", attributes=attributes)), rejects=(rejected,)))
    expected = {"fetched": 3, "updated": 1, "unchanged": 1, "rejected": 1, "removed": 1}
    assert await second.compare("remove") == Comparison(
        **expected, missing=1, live=3, median_price_change=1.0, price_changes=1
    )
    assert await second.plan("remove") == Counts(**expected)
    page = await sync.changes("shop", run_id, limit=1)
    (change,) = page.items
    assert page.totals == {"changed": 1, "removed": 1}
    assert (change.kind, change.external_id, change.applied, page.next) == ("changed", "b", False, change.id)
    assert change.changes == {
        "price": Difference(old=Decimal("1.10"), new=Decimal("2.20")), "attributes": Difference(old={}, new=attributes),
    }  # fmt: skip
    (removed,) = (await sync.changes("shop", run_id, kind="removed", after=change.id)).items
    assert (removed.external_id, removed.name) == ("c", "c")
    assert (await sync.changes("shop", run_id, field="stock")).items == []
    assert (await sync.conflicts("shop", run_id)).total == 0
    (kept,) = (await sync.rejects("shop", run_id)).items
    assert (kept.external_id, kept.position) == ("x", 3)
    assert await second.apply(planned=True) == Counts(**expected)

    undo = await sync.open("shop", uuid4(), 1)
    assert await undo.plan_revert(run_id) == Counts(updated=2)
    assert await undo.apply(planned=True) == Counts(updated=2)
    names = {it["external_id"]: it["price"] for it in (await catalog.get("/products")).json()["items"]}
    assert names == {"a": 1.1, "b": 1.1, "c": 1.1}


async def test_what_is_discarded_or_pruned_is_gone(sync: CatalogClient) -> None:
    run_id, undo_id = uuid4(), uuid4()
    run = await sync.open("shop", run_id, 1)
    await run.stage(Page(items=(product("a"),)))
    await run.discard()
    assert not (await sync.open("shop", run_id, 2)).complete
    again = await sync.open("shop", run_id, 3)
    await again.stage(Page(items=(product("a"),)))
    assert await again.apply() == Counts(fetched=1, created=1)
    undo = await sync.open("shop", undo_id, 3)
    await sync.prune(datetime.now(UTC) + timedelta(minutes=1))
    assert (await sync.changes("shop", run_id)).items == []
    with pytest.raises(CatalogRejected, match="Nothing is kept of a run"):
        await undo.plan_revert(run_id)
