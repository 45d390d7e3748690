"""POST /sync/sources/test: a source is looked at, in a process of its own, and nothing is stored."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sync import trials
from sync.app import build
from tests.fixtures.catalog import Auth
from tests.fixtures.processes import environment_of
from tests.fixtures.service import serving
from tests.integration.sync.conftest import Admin, Feed, Make, install_hostile_providers

Rows = psycopg.Connection[Any]
PATH = "/sync/sources/test"


@pytest.fixture
async def admin(
    settings_of: Make, auth_process: Auth, feed: Feed, rows: Rows, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Admin]:
    install_hostile_providers(tmp_path)
    settings = settings_of(auth_url=auth_process.url, external_api_url=f"{feed.url}?key=hunter2")
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with serving(build(settings)) as client:
        yield Admin(client, auth_process)


async def test_records_as_they_came_and_what_they_become(admin: Admin, feed: Feed, rows: Rows) -> None:
    feed.products[1] |= {"price": "free"}
    feed.products[2] |= {"stock": -1}
    found = await admin.call("POST", PATH, provider="dummyjson", url=feed.url, count=3)
    good, bad, patched = found["items"]
    assert good["raw"] == feed.products[0]
    assert (good["product"]["name"], good["product"]["price"], good["reason"]) == ("Product 1", 9.99, None)
    assert (bad["product"], bad["reason"].partition(":")[0]) == (None, "price")
    assert (patched["product"]["stock"], patched["dropped"]) == (None, ["stock"])
    assert rows.execute("SELECT count(*) FROM sync.runs").fetchone() == (0,)
    # The one of the environment is asked with its secrets, which are not told.
    ours = await admin.call("POST", PATH, source="dummyjson", count=1)
    assert ours["items"] == [good]
    assert "hunter2" not in str(ours)


async def test_a_mapping_is_proposed_and_tried(admin: Admin, feed: Feed) -> None:
    shop: dict[str, Any] = {"provider": "rest", "url": feed.url, "count": 2}
    query = {"limit": "10", "skip": "0"}
    first = await admin.call("POST", PATH, **shop, options={"query": query})
    assert first["items"] == []
    assert "options.mapping" in first["error"]
    proposal = first["proposal"]
    assert (proposal["items"], proposal["mapping"]["name"]) == ("products", "title")
    options = {"query": query, "items": proposal["items"], "mapping": proposal["mapping"]}
    tried = await admin.call("POST", PATH, **shop, options=options)
    assert tried["items"][0]["product"]["name"] == "Product 1"


async def test_what_a_source_answers_is_told(admin: Admin, feed: Feed) -> None:
    feed.before = lambda skip: (403, b"{}")
    refused = await admin.call("POST", PATH, 422, provider="dummyjson", url=feed.url)
    assert refused["type"].endswith("source-failed")
    assert "403" in refused["detail"]
    for body, status in (({"source": "nobody"}, 404), ({"provider": "dummyjson"}, 422), ({}, 422)):
        assert (await admin.client.post(PATH, json=body, headers=admin.auth.admin)).status_code == status


@pytest.mark.parametrize(("name", "said"), [("hangs", "within"), ("leaves", "ended"), ("fills", "ended")])
async def test_a_provider_hurts_its_own_process_only(
    admin: Admin, feed: Feed, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    # Of the start of a process on a busy machine; a hanging one is ended by it.
    monkeypatch.setattr(trials, "SECONDS", 5.0 if name == "hangs" else 50.0)
    problem = await admin.call("POST", PATH, 422, provider=name, url=feed.url)
    assert said in problem["detail"]
    assert (await admin.client.get("/livez")).status_code == 200


async def test_only_some_at_once(admin: Admin, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "SECONDS", 5.0)
    body = {"provider": "hangs", "url": feed.url}
    calls = [admin.client.post(PATH, json=body, headers=admin.auth.admin) for _ in range(4)]
    statuses = sorted(answer.status_code for answer in await asyncio.gather(*calls))
    assert statuses == [422, 422, 503, 503]
