"""Products over HTTP: the contract, exactness, roles, conditions, limits, and the cost of reads and writes."""

import asyncio
import itertools
import json
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.app import build
from catalog.settings import CatalogSettings
from tests.fixtures.catalog import Auth
from tests.fixtures.databases import dsn
from tests.fixtures.service import serving

BULK_INSERT = """
    INSERT INTO catalog.products (name, description, price, currency, category)
    SELECT name, description, price, currency, category FROM catalog.products
"""
LAPTOP = {"name": "Laptop", "description": "14 inches", "price": 999.99, "category": "electronics"}


async def create(client: httpx.AsyncClient, auth: Auth, **changes: Any) -> dict[str, Any]:
    answer = await client.post("/products", json=LAPTOP | changes, headers=auth.admin)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def problem_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The body of a problem, checked for what every problem has."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["type"]
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["instance"].startswith("/")
    return body


class TestLife:
    async def test_create_read_replace_delete(self, catalog: httpx.AsyncClient, auth_process: Auth) -> None:
        made = await catalog.post("/products", json=LAPTOP, headers=auth_process.admin)
        assert made.status_code == 201
        product = made.json()
        assert made.headers["location"] == f"/products/{product['id']}"
        assert product.items() >= (LAPTOP | {"currency": "USD", "version": 1, "source": None, "pinned": []}).items()
        read = await catalog.get(made.headers["location"])
        assert read.content == made.content
        assert read.headers["etag"] == made.headers["etag"]
        changed = await catalog.put(made.headers["location"], json=LAPTOP | {"price": 899}, headers=auth_process.admin)
        assert changed.status_code == 200
        assert changed.json()["price"] == 899
        assert changed.json()["version"] == 2
        assert changed.headers["etag"] != made.headers["etag"]
        gone = await catalog.delete(made.headers["location"], headers=auth_process.admin)
        assert gone.status_code == 204
        assert gone.content == b""
        for method in ("GET", "PUT", "DELETE"):
            body = LAPTOP if method == "PUT" else None
            answer = await catalog.request(method, made.headers["location"], json=body, headers=auth_process.admin)
            problem_of(answer, 404)
        assert (await create(catalog, auth_process))["id"] > product["id"]

    @pytest.mark.parametrize("clock", ["12:00:00", "12:00:00.5", "12:00:00.12345", "12:00:00.000001"])
    async def test_reads_and_writes_tell_the_same_time(
        self, catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings, clock: str
    ) -> None:
        path = f"/products/{(await create(catalog, auth_process))['id']}"
        async with await psycopg.AsyncConnection.connect(dsn(catalog_settings)) as connection:
            await connection.execute("UPDATE catalog.products SET created_at = %s", [f"2026-01-31 {clock}+00"])
        read = (await catalog.get(path)).json()["created_at"]
        body = LAPTOP | {"price": 1}
        assert (await catalog.put(path, json=body, headers=auth_process.admin)).json()["created_at"] == read
        assert read.startswith(f"2026-01-31T{clock}")
        assert len(read) in (20, 27)

    async def test_equal_replacement_writes_nothing(self, catalog: httpx.AsyncClient, auth_process: Auth) -> None:
        product = await create(catalog, auth_process)
        same = await catalog.put(f"/products/{product['id']}", json=LAPTOP, headers=auth_process.admin)
        assert same.json() == product

    async def test_lost_update_is_refused(self, catalog: httpx.AsyncClient, auth_process: Auth) -> None:
        product = await create(catalog, auth_process)
        url, tag = f"/products/{product['id']}", f'"{product["id"]}-1"'
        first = await catalog.put(url, json=LAPTOP | {"price": 1}, headers=auth_process.admin | {"If-Match": tag})
        assert first.status_code == 200
        for method in ("PUT", "DELETE"):
            body = LAPTOP if method == "PUT" else None
            answer = await catalog.request(method, url, json=body, headers=auth_process.admin | {"If-Match": tag})
            assert problem_of(answer, 412)["type"].endswith("version-conflict")
            assert answer.headers["etag"] == first.headers["etag"]
        assert (await catalog.delete(url, headers=auth_process.admin | {"If-Match": "*"})).status_code == 204

    async def test_concurrent_increments_with_retry_all_count(
        self, catalog: httpx.AsyncClient, auth_process: Auth
    ) -> None:
        url = f"/products/{(await create(catalog, auth_process, stock=0))['id']}"

        async def increment() -> None:
            while True:
                read = await catalog.get(url)
                body = LAPTOP | {"stock": read.json()["stock"] + 1}
                condition = auth_process.admin | {"If-Match": read.headers["etag"]}
                if (await catalog.put(url, json=body, headers=condition)).status_code == 200:
                    return

        await asyncio.gather(*(increment() for _ in range(20)))
        assert (await catalog.get(url)).json()["stock"] == 20

    async def test_conditional_get(self, catalog: httpx.AsyncClient, auth_process: Auth) -> None:
        url = f"/products/{(await create(catalog, auth_process))['id']}"
        tag = (await catalog.get(url)).headers["etag"]
        for condition in (tag, f'"x", {tag}', "*", f"W/{tag}"):
            unchanged = await catalog.get(url, headers={"If-None-Match": condition})
            assert unchanged.status_code == 304
            assert unchanged.content == b""
            assert unchanged.headers["etag"] == tag
        assert (await catalog.get(url, headers={"If-None-Match": '"other"'})).status_code == 200

    async def test_head_is_get_without_body(self, catalog: httpx.AsyncClient, auth_process: Auth) -> None:
        url = f"/products/{(await create(catalog, auth_process))['id']}"
        for path in (url, "/products", "/products/999999", "/health"):
            full, head = await catalog.get(path), await catalog.head(path)
            assert head.status_code == full.status_code
            assert head.content == b""
            own = {"date", "x-request-id", "content-length"}
            assert {k: v for k, v in head.headers.items() if k not in own} == {
                k: v for k, v in full.headers.items() if k not in own
            }

    async def test_a_failed_commit_is_never_answered_with_201(
        self, catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
    ) -> None:
        async with await psycopg.AsyncConnection.connect(dsn(catalog_settings), autocommit=True) as connection:
            await connection.execute("""
                CREATE FUNCTION catalog.refuse() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'at the commit' USING ERRCODE = '40001'; END $$;
                CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON catalog.products DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION catalog.refuse()
            """)
            try:
                answer = await catalog.post("/products", json=LAPTOP, headers=auth_process.admin)
            finally:
                await connection.execute("DROP FUNCTION catalog.refuse() CASCADE")
        problem_of(answer, 503)
        assert (await catalog.get("/products")).json()["total"] == 0


class TestBudgets:
    """Statements of a write, and its round trips to PostgreSQL: BEGIN, one for each statement, COMMIT."""

    @pytest.mark.parametrize(
        ("write", "budget"), [("create", (1, 3)), ("change", (2, 4)), ("same", (1, 3)), ("delete", (2, 4))]
    )
    async def test_of_writes(
        self,
        catalog_settings: CatalogSettings,
        auth_process: Auth,
        statements: list[str],
        round_trips: list[Any],
        write: str,
        budget: tuple[int, int],
    ) -> None:
        prices = itertools.count(1)

        async def send(client: httpx.AsyncClient, path: str) -> httpx.Response:
            match write:
                case "create":
                    return await client.post("/products", json=LAPTOP, headers=auth_process.admin)
                case "delete":
                    return await client.delete(path, headers=auth_process.admin)
            body = {"price": next(prices) if write == "change" else LAPTOP["price"]}
            return await client.put(path, json=body, headers=auth_process.admin)

        rounds = []
        # With one connection, whose statements are prepared after a few rounds.
        async with serving(build(catalog_settings.model_copy(update={"db_pool_size": 1}))) as client:
            for _ in range(6):
                path = f"/products/{(await create(client, auth_process))['id']}"
                statements.clear()
                round_trips.clear()
                assert (await send(client, path)).is_success
                rounds.append((len(statements), len(round_trips), list(statements)))
        # The purge of deleted products may come into one of them.
        assert min(rounds[3:])[:2] == budget, rounds


class TestList:
    async def test_pages_cover_everything_once(self, catalog: httpx.AsyncClient, auth_process: Auth) -> None:
        ids = [(await create(catalog, auth_process, name=f"n{n}"))["id"] for n in range(7)]
        await catalog.delete(f"/products/{ids.pop(3)}", headers=auth_process.admin)
        seen, url = [], "/products?limit=2"
        while url:
            page = (await catalog.get(url)).json()
            assert page["total"] == 6
            assert page["limit"] == 2
            seen += [item["id"] for item in page["items"]]
            url = page["next"]
        assert seen == ids
        beyond = (await catalog.get("/products?skip=50")).json()
        assert beyond == {"items": [], "total": 6, "skip": 50, "limit": 100, "next": None}

    async def test_cursor_misses_and_repeats_nothing_under_writes(
        self, catalog: httpx.AsyncClient, auth_process: Auth
    ) -> None:
        ids = [(await create(catalog, auth_process))["id"] for _ in range(9)]
        seen, url = [], "/products?cursor=&limit=2"
        while url:
            page = (await catalog.get(url)).json()
            seen += [item["id"] for item in page["items"]]
            if len(seen) == 4:
                await catalog.delete(f"/products/{ids[0]}", headers=auth_process.admin)
                await catalog.delete(f"/products/{ids[6]}", headers=auth_process.admin)
            url = page["next"]
        assert seen == [it for it in ids if it != ids[6]]

    @pytest.mark.parametrize(
        "query", ["cursor=x", "cursor=aWQ6LTE", "cursor=&skip=1", "cursor=%00", "cursor=aWQ6MQ==x"]
    )
    async def test_bad_cursor(self, catalog: httpx.AsyncClient, query: str) -> None:
        answer = await catalog.get(f"/products?{query}")
        assert problem_of(answer, 400)["type"].endswith("invalid-cursor")

    @pytest.mark.parametrize(
        "query",
        [
            "limit=0", "limit=501", "limit=-1", "limit=1_0", "limit=+5", "limit=%205", "limit=", "limit=1.0", "limit=x",
            "limit=1000000000", "skip=-1", "skip=1000001", "skip=99999999999999999999", "skip=1&skip=2", "category=a",
            "limit=%D9%A1", "skip=%00",
        ],
    )  # fmt: skip
    async def test_bad_paging_is_refused(self, catalog: httpx.AsyncClient, query: str) -> None:
        body = problem_of(await catalog.get(f"/products?{query}"), 422)
        assert body["errors"][0]["parameter"] in query

    async def test_too_deep_names_cursor(self, catalog: httpx.AsyncClient) -> None:
        assert "cursor" in problem_of(await catalog.get("/products?skip=1000001"), 422)["detail"]

    async def test_total_is_exact_under_concurrent_writes(
        self, catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
    ) -> None:
        made = await asyncio.gather(*(create(catalog, auth_process) for _ in range(60)))
        await asyncio.gather(*(catalog.delete(f"/products/{it['id']}", headers=auth_process.admin) for it in made[:20]))
        assert (await catalog.get("/products")).json()["total"] == 40
        async with await psycopg.AsyncConnection.connect(dsn(catalog_settings), autocommit=True) as connection:
            await connection.execute("UPDATE catalog.products SET deleted_at = NULL")
            assert (await catalog.get("/products")).json()["total"] == 60
            for statement, total in (
                ("UPDATE catalog.products SET name = 'x', version = version + 1", 60),
                ("UPDATE catalog.products SET deleted_at = now() WHERE id % 3 = 0", 40),
                ("UPDATE catalog.products SET deleted_at = CASE WHEN id % 3 > 0 THEN now() END WHERE id % 3 < 2", 40),
                ("DELETE FROM catalog.products WHERE id % 3 = 1", 40),
                ("DELETE FROM catalog.products WHERE id % 3 = 0", 20),
                (BULK_INSERT, 40),
                ("TRUNCATE catalog.products", 0),
            ):
                await connection.execute(statement)
                assert (await catalog.get("/products")).json()["total"] == total, statement

    async def test_a_change_that_leaves_the_total_alone_writes_no_delta(
        self, catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
    ) -> None:
        product = await create(catalog, auth_process)
        async with await psycopg.AsyncConnection.connect(dsn(catalog_settings), autocommit=True) as connection:

            async def deltas() -> list[Any]:
                rows = await connection.execute("SELECT id, delta FROM catalog.product_counts ORDER BY id")
                return await rows.fetchall()

            before = await deltas()
            for price in range(1, 6):
                path = f"/products/{product['id']}"
                assert (await catalog.put(path, json={"price": price}, headers=auth_process.admin)).status_code == 200
            assert await deltas() == before

    @pytest.mark.parametrize("path", ["/products?limit=100", "/products?skip=500", "/products/{id}"])
    async def test_costs_one_statement(
        self, catalog: httpx.AsyncClient, auth_process: Auth, statements: list[str], path: str
    ) -> None:
        url = path.format(id=(await create(catalog, auth_process))["id"])
        statements.clear()
        assert (await catalog.get(url)).status_code == 200
        assert len(statements) == 1, statements


class TestMoney:
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(cents=st.integers(1, 999_999_999_999))
    def test_price_leaves_as_it_came(self, cents: int) -> None:
        from catalog.schemas import ProductIn
        from common.json_encoding import dumps
        from common.web.strict_json import loads

        price = Decimal(cents) / 100
        body = loads(json.dumps(LAPTOP).replace("999.99", str(price)).encode())
        assert dumps(ProductIn.model_validate(body).price) == str(price).encode()

    @pytest.mark.parametrize("price", ["29.99", "0.01", "9999999999.99", "10", "0.1", "1e2", "5.10"])
    async def test_exact_number(self, catalog: httpx.AsyncClient, auth_process: Auth, price: str) -> None:
        body = json.dumps(LAPTOP).replace("999.99", price)
        headers = auth_process.admin | {"Content-Type": "application/json"}
        made = await catalog.post("/products", content=body, headers=headers)
        assert made.status_code == 201, made.text
        raw = (await catalog.get(made.headers["location"])).text
        assert Decimal(raw.partition('"price":')[2].partition(",")[0]) == Decimal(price)
        assert '"price":"' not in made.text

    @pytest.mark.parametrize("price", ["0", "-1", "1.001", "10000000000", "1e10", '"5"', "true", "null", "[]", "1e-3"])
    async def test_not_money(self, catalog: httpx.AsyncClient, auth_process: Auth, price: str) -> None:
        body = json.dumps(LAPTOP).replace("999.99", price)
        headers = auth_process.admin | {"Content-Type": "application/json"}
        answer = problem_of(await catalog.post("/products", content=body, headers=headers), 422)
        assert answer["errors"][0]["pointer"] == "#/price"


class TestWhoMay:
    @pytest.mark.parametrize(
        ("method", "path"), [("POST", "/products"), ("PUT", "/products/1"), ("DELETE", "/products/1")]
    )
    async def test_only_admins_write(
        self, catalog: httpx.AsyncClient, auth_process: Auth, method: str, path: str
    ) -> None:
        body = LAPTOP if method != "DELETE" else None
        nobody = await catalog.request(method, path, json=body)
        problem_of(nobody, 401)
        assert nobody.headers["www-authenticate"].startswith("Bearer ")
        for headers in (auth_process.user, auth_process.sync):
            problem_of(await catalog.request(method, path, json=body, headers=headers), 403)
        forged = {"Authorization": auth_process.admin["Authorization"][:-4] + "AAAA"}
        refused = await catalog.request(method, path, json=body, headers=forged)
        assert problem_of(refused, 401)
        assert 'error="invalid_token"' in refused.headers["www-authenticate"]

    async def test_only_sync_imports(self, catalog: httpx.AsyncClient, auth_process: Auth) -> None:
        url = "/internal/imports/shop/runs/6f0ad8f0-7f6f-4a7e-9f43-7b0a3f4f8a11"
        problem_of(await catalog.put(url, json={"fence": 1}), 401)
        problem_of(await catalog.put(url, json={"fence": 1}, headers=auth_process.admin), 403)
        assert (await catalog.put(url, json={"fence": 1}, headers=auth_process.sync)).status_code == 200


class TestInput:
    @pytest.mark.parametrize(
        "extra", ["id", "version", "created_at", "source", "external_id", "pinned", "Name", "role"]
    )
    async def test_mass_assignment(self, catalog: httpx.AsyncClient, auth_process: Auth, extra: str) -> None:
        answer = await catalog.post("/products", json=LAPTOP | {extra: 1}, headers=auth_process.admin)
        assert problem_of(answer, 422)["errors"][0]["pointer"] == f"#/{extra}"
        assert (await catalog.get("/products")).json()["total"] == 0

    @pytest.mark.parametrize(
        "change",
        [
            {"name": ""}, {"name": "   "}, {"name": "x" * 301}, {"name": None}, {"category": ""}, {"currency": "usd"},
            {"currency": "USD\n"}, {"stock": -1}, {"stock": 1.5}, {"stock": "1"}, {"stock": True}, {"stock": 2**31},
            {"image_url": "javascript:alert(1)"}, {"attributes": []}, {"attributes": {"a": "x" * 40_000}},
            {"attributes": {"a": [[[[[[[[[1]]]]]]]]]}}, {"brand": ""},
        ],
    )  # fmt: skip
    async def test_bad_fields(self, catalog: httpx.AsyncClient, auth_process: Auth, change: dict[str, Any]) -> None:
        answer = await catalog.post("/products", json=LAPTOP | change, headers=auth_process.admin)
        assert problem_of(answer, 422)["errors"][0]["pointer"].startswith(f"#/{next(iter(change))}")

    @pytest.mark.parametrize("id_", ["0", "-1", "abc", "1_0", "9" * 30, "9223372036854775808", "%00", "1.0"])
    async def test_bad_ids(self, catalog: httpx.AsyncClient, id_: str) -> None:
        problem_of(await catalog.get(f"/products/{id_}"), 422)

    async def test_inert_text_round_trips(self, catalog: httpx.AsyncClient, auth_process: Auth) -> None:
        nasty = "'; DROP TABLE products; -- <script>\r\n{{7*7}} ${x} Ünïcödé 漢字 \u202e %s %(x)s"
        made = await create(catalog, auth_process, name=nasty, attributes={nasty: [1.25, None, {"k": nasty}]})
        read = (await catalog.get(f"/products/{made['id']}")).json()
        assert read["name"] == nasty
        assert read["attributes"] == {nasty: [1.25, None, {"k": nasty}]}
