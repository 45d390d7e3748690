"""The main job, through the gateway of a whole running stack: the quick start, the sync, the errors, the metrics."""

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fixtures import checked
from tests.fixtures.stack import ORIGIN
from tests.fixtures.waiting import until

pytestmark = pytest.mark.xdist_group("stack")

ADMIN = {"email": "admin@example.com", "password": "admin123"}
LAPTOP = {"name": "Laptop", "description": "14 inches", "price": 999.99, "category": "electronics"}


@pytest.fixture(scope="module")
def gateway(stack: dict[str, Any]) -> Iterator[httpx.Client]:
    with checked.Client(base_url=stack["gateway_url"], timeout=15) as client:
        yield client


@pytest.fixture(scope="module")
def admin(gateway: httpx.Client) -> dict[str, str]:
    """Headers of the first admin, who comes out of a race of 50."""

    async def race() -> list[int]:
        async with checked.AsyncClient(base_url=gateway.base_url, timeout=30) as client:
            candidates = [ADMIN] + [{"email": f"admin{n}@example.com", "password": "admin123"} for n in range(49)]
            posts = (client.post("/auth/register", json=it | {"role": "admin"}) for it in candidates)
            answers = await asyncio.gather(*posts)
            winners = [it for it, answer in zip(candidates, answers, strict=True) if answer.status_code == 201]
            ADMIN.update(winners[0])
            return sorted(answer.status_code for answer in answers)

    assert asyncio.run(race()) == [201] + [403] * 49
    answer = gateway.post("/auth/login", json=ADMIN)
    body = answer.json()
    assert answer.status_code == 200
    assert body["token_type"] == "bearer"
    assert body["expires_in"] > 0
    assert body["refresh_token"]
    return {"Authorization": f"Bearer {body['access_token']}"}


def sync_now(gateway: httpx.Client, admin: dict[str, str]) -> dict[str, Any]:
    """Trigger a sync and wait for its end."""

    def accepted() -> httpx.Response | None:
        """The answer, unless a starved machine lets the gateway take the service for gone: then clients try again."""
        answer = gateway.post("/sync/trigger", headers=admin)
        return None if answer.status_code == 503 else answer

    answer = until(accepted)
    assert answer is not None
    assert answer.status_code == 202, answer.text
    status_url = answer.json()["status_url"]
    assert answer.json()["run_id"] in status_url

    def finished() -> dict[str, Any] | None:
        run: dict[str, Any] = gateway.get(status_url, headers=admin).json()
        return run if run["state"] in ("succeeded", "failed") else None

    run = until(finished)
    assert run is not None
    return run


class TestQuickStart:
    def test_194_products_come_by_themselves(self, gateway: httpx.Client) -> None:
        until(lambda: gateway.get("/products").json()["total"] >= 194)
        page = gateway.get("/products?skip=100&limit=50").json()
        assert len(page["items"]) == 50
        assert page["next"] == "/products?skip=150&limit=50"

    def test_me_is_the_admin(self, gateway: httpx.Client, admin: dict[str, str]) -> None:
        me = gateway.get("/auth/me", headers=admin).json()
        assert (me["email"], me["role"]) == (ADMIN["email"], "admin")
        assert "password" not in json.dumps(me)

    def test_a_products_life(self, gateway: httpx.Client, admin: dict[str, str]) -> None:
        made = gateway.post("/products", json=LAPTOP, headers=admin)
        assert made.status_code == 201
        assert '"price":999.99' in made.text
        url = made.headers["location"]
        assert gateway.get(url).json() == made.json()
        assert gateway.get(url, headers={"If-None-Match": made.headers["etag"]}).status_code == 304
        changed = gateway.put(url, json=LAPTOP | {"price": 899.5}, headers=admin | {"If-Match": made.headers["etag"]})
        assert changed.status_code == 200
        assert changed.json()["price"] == 899.5
        # Read your write, whichever replica answers.
        assert all(gateway.get(url).json()["price"] == 899.5 for _ in range(10))
        assert gateway.delete(url, headers=admin | {"If-Match": made.headers["etag"]}).status_code == 412
        assert gateway.delete(url, headers=admin).status_code == 204
        assert all(gateway.get(url).status_code == 404 for _ in range(4))

    def test_roles(self, gateway: httpx.Client, admin: dict[str, str]) -> None:
        account = {"email": "user@example.com", "password": "just a user"}
        assert gateway.post("/auth/register", json=account).json()["role"] == "user"
        token = gateway.post("/auth/login", json=account).json()["access_token"]
        for method, path in (("POST", "/products"), ("POST", "/sync/trigger"), ("GET", "/sync/status")):
            body = LAPTOP if path == "/products" else None
            forbidden = gateway.request(method, path, json=body, headers={"Authorization": f"Bearer {token}"})
            assert forbidden.status_code == 403, (path, forbidden.text)
            nobody = gateway.request(method, path, json=body)
            assert nobody.status_code == 401
            assert nobody.headers["www-authenticate"].startswith("Bearer")

    def test_wrong_password(self, gateway: httpx.Client) -> None:
        wrong = gateway.post("/auth/login", json={"email": "nobody@example.com", "password": "wrong password"})
        assert wrong.status_code == 401
        assert gateway.post("/auth/register", json=ADMIN).status_code == 409


class TestSync:
    def test_a_second_sync_rewrites_no_row(
        self, gateway: httpx.Client, admin: dict[str, str], stack: dict[str, Any]
    ) -> None:
        until(lambda: gateway.get("/products").json()["total"] >= 194)
        query = "SELECT id, xmin::text, xmax::text FROM catalog.products WHERE source = 'dummyjson' ORDER BY id"
        with psycopg.connect(stack["database_url"], autocommit=True) as connection:
            before = connection.execute(query).fetchall()
            run = sync_now(gateway, admin)
            after = connection.execute(query).fetchall()
        counts = dict.fromkeys(run["counts"], 0) | {"fetched": 194, "unchanged": 194}
        assert run["state"] == "succeeded", run
        assert run["counts"] == counts, run
        assert run["duration_seconds"] > 0
        assert len(before) == 194
        assert after == before

    def test_changes_at_the_source_come_and_edits_stay(
        self, gateway: httpx.Client, admin: dict[str, str], stack: dict[str, Any]
    ) -> None:
        first, second, third = gateway.get("/products?limit=3").json()["items"]
        edited = {key: first[key] for key in ("name", "description", "category")} | {"price": 1.11}
        assert gateway.put(f"/products/{first['id']}", json=edited, headers=admin).status_code == 200
        assert gateway.delete(f"/products/{second['id']}", headers=admin).status_code == 204
        with psycopg.connect(stack["database_url"], autocommit=True) as connection:
            # As if the source had another name for it since.
            connection.execute("UPDATE catalog.products SET name = 'Old name' WHERE id = %s", [third["id"]])
        run = sync_now(gateway, admin)
        assert run["counts"]["updated"] == 1, run
        assert run["counts"]["created"] == 0, run
        assert gateway.get(f"/products/{first['id']}").json()["price"] == 1.11
        assert gateway.get(f"/products/{second['id']}").status_code == 404
        assert gateway.get(f"/products/{third['id']}").json()["name"] == third["name"]

    def test_50_triggers_make_one_run(
        self, gateway: httpx.Client, admin: dict[str, str], stack: dict[str, Any]
    ) -> None:
        async def race() -> set[str]:
            async with checked.AsyncClient(base_url=gateway.base_url, timeout=30, headers=admin) as client:
                answers = await asyncio.gather(*(client.post("/sync/trigger") for _ in range(50)))
                assert {answer.status_code for answer in answers} == {202}
                return {answer.json()["run_id"] for answer in answers}

        # Without its source no run ends in between and lets the next begin.
        source = psutil.Process(next(it["pid"] for it in stack["processes"] if it["name"] == "dummyjson"))
        source.suspend()
        try:
            runs = asyncio.run(race())
        finally:
            source.resume()
        assert len(runs) == 1
        until(lambda: gateway.get(f"/sync/runs/{next(iter(runs))}", headers=admin).json()["state"] == "succeeded")

    def test_status(self, gateway: httpx.Client, admin: dict[str, str]) -> None:
        status = gateway.get("/sync/status", headers=admin).json()
        (source,) = status["sources"]
        assert source["source"] == "dummyjson"
        assert source["last_success_at"]
        assert source["next_tick_at"]
        assert source["last_run"]["counts"]["fetched"] == 194
        assert status["queue"]["failed"] == 0
        assert status["workers"]
        assert status["scheduler"]["alive"] is True


class TestErrors:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/nothing", 404), ("GET", "/internal/imports/x", 404), ("GET", "/metrics", 404),
            ("GET", "/livez", 404), ("GET", "/products/999999", 404), ("GET", "/products/x", 422),
            ("PATCH", "/products", 405), ("GET", "/auth/login", 405), ("POST", "/products", 401),
            ("GET", "/sync/runs/x", 401), ("GET", "/products?limit=0", 422), ("GET", "/products/1/", 404),
            ("DELETE", "/auth/me", 405), ("GET", "/docs/assets/nothing.js", 404),
        ],
    )  # fmt: skip
    def test_each_is_a_problem(self, gateway: httpx.Client, method: str, path: str, status: int) -> None:
        answer = gateway.request(method, path)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        body = answer.json()
        assert body["status"] == status
        assert body["request_id"] == answer.headers["x-request-id"]
        assert body["instance"] == path.partition("?")[0]
        if status == 405:
            assert answer.headers["allow"]

    def test_the_request_id_stands_in_the_logs(self, gateway: httpx.Client, stack: dict[str, Any]) -> None:
        answer = gateway.get("/products/999999", headers={"X-Request-ID": "find-me-in-the-logs.1"})
        assert answer.json()["request_id"] == "find-me-in-the-logs.1"
        made = gateway.get("/products/999998", headers={"X-Request-ID": "not safe\tto log"})
        assert made.json()["request_id"] not in ("", "-", "not safe\tto log")
        for wanted in ("find-me-in-the-logs.1", made.json()["request_id"]):
            until(partial(is_logged, stack, wanted))

    def test_bodies(self, gateway: httpx.Client, admin: dict[str, str]) -> None:
        send = {"Content-Type": "application/json"} | admin
        for body, status in (
            (b"{", 400), (b'{"name": NaN}', 400), (b'{"name":"a","name":"b"}', 400), (b"[" * 5000, 400),
            (b'{"name":"\\ud800"}', 400), (b"[]", 422), (b"{}", 422), (b'"x"', 422), (b"x" * 1_100_000, 413),
        ):  # fmt: skip
            answer = gateway.post("/products", content=body, headers=send)
            assert answer.status_code == status, (body[:20], answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
        as_text = gateway.post("/products", content=b"{}", headers=admin | {"Content-Type": "text/plain"})
        assert as_text.status_code == 415


def is_logged(stack: dict[str, Any], request_id: str) -> bool:
    return any(line.get("request_id") == request_id for line in stack_logs(stack))


def stack_logs(stack: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in stack["run_dir"].glob("logs/*.log"):
        for line in path.read_text("utf-8", "replace").splitlines():
            if line.startswith("{"):
                yield json.loads(line)


class TestOperations:
    def test_health(self, gateway: httpx.Client) -> None:
        for path, service in (("/health", "catalog"), ("/auth/health", "auth"), ("/sync/health", "sync")):
            body = gateway.get(path).json()
            assert body["status"] == "ok"
            assert body["service"] == service
            assert body["checks"]["postgres"]["status"] == body["checks"]["redis"]["status"] == "ok"

    def test_every_process_is_alive_and_scrapable(
        self, gateway: httpx.Client, admin: dict[str, str], stack: dict[str, Any]
    ) -> None:
        sync_now(gateway, admin)
        families: dict[str, dict[str, Any]] = {}
        for process in stack["processes"]:
            if process["metrics_url"]:
                text = httpx.get(process["metrics_url"], timeout=5).text  # unchecked: metrics
                families[process["name"]] = {it.name: it for it in text_string_to_metric_families(text)}
                base = process["metrics_url"].removesuffix("/metrics")
                if process["name"] != "gateway":  # whose own URL leads to the services
                    base = process["url"] or base
                assert httpx.get(f"{base}/livez", timeout=5).json()["status"] == "ok"  # unchecked: workers too
                assert httpx.get(f"{base}/health", timeout=5).status_code == 200  # unchecked: workers too
        names = {"auth", "catalog", "catalog-2", "sync-api", "sync-worker", "sync-scheduler"}
        assert set(families) == {*names, "gateway"}
        assert families["gateway"]["envoy_cluster_membership_healthy"].samples
        for name in names:
            (build,) = families[name]["products_build_info"].samples
            assert build.value == 1
            assert build.labels["version"]
        samples = families["catalog"]["products_http_requests"].samples + (
            families["catalog-2"]["products_http_requests"].samples
        )
        routes = {sample.labels["route"] for sample in samples}
        assert {"/products", "/products/{product_id}"} <= routes
        assert not any("999999" in route for route in routes)
        assert families["catalog"]["products_http_request_duration_seconds"].type == "histogram"
        worker = families["sync-worker"]
        runs = {it.labels["outcome"]: it.value for it in worker["products_sync_runs"].samples if "_total" in it.name}
        rows = {it.labels["kind"]: it.value for it in worker["products_sync_rows"].samples if "_total" in it.name}
        assert runs["succeeded"] >= 2
        assert rows["created"] >= 194
        assert sum(rows.values()) >= 2 * 194
        assert "fetched" not in rows
        scheduler = families["sync-scheduler"]
        assert 0 <= scheduler["products_sync_last_success_age_seconds"].samples[0].value < 60
        assert scheduler["products_sync_queue_jobs"].samples

    def test_cors(self, gateway: httpx.Client) -> None:
        preflight = {
            "Origin": ORIGIN, "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }  # fmt: skip
        allowed = gateway.options("/products", headers=preflight)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == ORIGIN
        assert gateway.get("/products", headers={"Origin": ORIGIN}).headers["access-control-allow-origin"] == ORIGIN
        foreign = gateway.get("/products", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in foreign.headers
        for path in ("/nothing", "/products/?", f"/products?q={'x' * 9000}"):
            refused = gateway.get(path, headers={"Origin": ORIGIN})
            assert refused.status_code in (404, 414)
            assert refused.headers["access-control-allow-origin"] == ORIGIN

    @pytest.mark.parametrize("page", ["/docs", "/redoc"])
    def test_docs_need_nobody_elses_server(self, gateway: httpx.Client, page: str) -> None:
        html = gateway.get(page).text
        sources = [part.partition('"')[0] for key in ('src="', 'href="') for part in html.split(key)[1:]]
        assert sources, sources
        assert not any(urlsplit(it).netloc for it in sources), sources
        for source in sources:
            assert gateway.get(source).status_code == 200, source
        spec = gateway.get("/openapi.json").json()
        assert {"/products", "/auth/login", "/sync/trigger", "/health", "/auth/health", "/sync/health"} <= set(
            spec["paths"]
        )
        flow = next(it["flows"]["password"] for it in spec["components"]["securitySchemes"].values() if "flows" in it)
        form = {"grant_type": "password", "username": ADMIN["email"], "password": ADMIN["password"]}
        assert gateway.post(flow["tokenUrl"], data=form).json()["access_token"]
