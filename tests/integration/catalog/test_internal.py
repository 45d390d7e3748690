"""The import routes are an application of their own, with limits and a deadline of their own."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from prometheus_client import REGISTRY

from catalog.app import build
from catalog.settings import CatalogSettings
from common.web import app
from common.web.middleware import DeadlineMiddleware
from tests.fixtures.catalog import Auth
from tests.fixtures.databases import dsn
from tests.fixtures.imports import Importer, item
from tests.fixtures.service import serving
from tests.integration.catalog.test_products import create, problem_of

BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'catalog_svc'"
JSON = {"Content-Type": "application/json"}


def answered(route: str, method: str, status: int) -> float:
    labels = {"route": route, "method": method, "status": str(status)}
    return REGISTRY.get_sample_value("products_http_requests_total", labels) or 0.0


async def test_requests_are_counted_by_their_whole_path(catalog: httpx.AsyncClient, auth_process: Auth) -> None:
    route = "/internal/imports/{source}/runs/{run_id}"
    before = answered(route, "PUT", 200), answered(route, "PUT", 401)
    run = Importer(catalog, auth_process)
    assert (await run.open()).status_code == 200
    problem_of(await catalog.put(run.url, json={"fence": 1}), 401)
    assert (answered(route, "PUT", 200), answered(route, "PUT", 401)) == (before[0] + 1, before[1] + 1)


async def test_what_is_not_served_is_told_as_everywhere(catalog: httpx.AsyncClient) -> None:
    run = f"/internal/imports/shop/runs/{uuid4()}"
    refused = await catalog.get(run)
    assert problem_of(refused, 405)["detail"] == "GET is not allowed; this path has DELETE, OPTIONS, PUT."
    assert refused.headers["allow"] == "DELETE, OPTIONS, PUT"
    assert (await catalog.options(run)).status_code == 204
    for path in ("/internal", "/internal/", "/internal/imports", "/internal/health", "/internal/products"):
        assert problem_of(await catalog.get(path), 404)["detail"] is None
    # The public application does not know these routes, so it does not tell of them.
    assert problem_of(await catalog.put(run.upper(), json={}), 404)["detail"] is None
    problem_of(await catalog.get("/internal/imports/shop/runs/nothing/pages?a=1"), 405)


async def test_a_page_may_be_larger_than_a_product(catalog: httpx.AsyncClient, auth_process: Auth) -> None:
    run = Importer(catalog, auth_process)
    await run.open()
    large = [item(str(number), description="x" * 20_000) for number in range(100)]
    assert (await run.stage(None, "next", large)).status_code == 200
    problem_of(await catalog.post("/products", content=b" " * 200_000, headers=auth_process.admin | JSON), 413)
    problem_of(await catalog.post(f"{run.url}/pages", content=b" " * (16 * 2**20 + 1), headers=run.headers | JSON), 413)


@pytest.mark.parametrize(
    ("body", "status"),
    [("", 400), ("{", 400), ("[]", 422), ("{}", 422), ('{"fence": "1"}', 422), ('{"fence": 0}', 422)],
)
async def test_a_bad_body_is_refused(catalog: httpx.AsyncClient, auth_process: Auth, body: str, status: int) -> None:
    run = Importer(catalog, auth_process)
    for method, path in (("PUT", run.url), ("POST", f"{run.url}/pages"), ("POST", f"{run.url}/merge")):
        problem_of(await catalog.request(method, path, content=body, headers=run.headers | JSON), status)
        problem_of(await catalog.request(method, path, content="x", headers=run.headers), 415)


async def test_imports_have_a_deadline_of_their_own(
    catalog: httpx.AsyncClient, catalog_settings: CatalogSettings, auth_process: Auth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import that waits for a lock still waits when an edit that came after it has been given up."""

    def impatient(application: Any, **limits: float) -> DeadlineMiddleware:
        return DeadlineMiddleware(application, **{"longest": 0.5, **limits})

    monkeypatch.setattr(app, "DeadlineMiddleware", impatient)
    path = f"/products/{(await create(catalog, auth_process))['id']}"
    async with serving(build(catalog_settings)) as client, await connect(catalog_settings) as holder:
        await holder.execute("LOCK TABLE catalog.imports, catalog.products")
        opened = asyncio.create_task(Importer(client, auth_process).open())
        async with await connect(catalog_settings, autocommit=True) as watch:
            while await (await watch.execute(BLOCKED)).fetchone() != (1,):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        problem_of(await client.put(path, json={"price": 1}, headers=auth_process.admin), 503)
        assert not opened.done()
        await holder.rollback()
        assert (await opened).status_code == 200


async def connect(settings: CatalogSettings, *, autocommit: bool = False) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(dsn(settings), autocommit=autocommit)
