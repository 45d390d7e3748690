"""PUT changes what it names and nothing else; pins, deletion and restoring; and what is written is what is read."""

import json
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest

from catalog.settings import CatalogSettings
from tests.fixtures.catalog import Auth
from tests.fixtures.databases import dsn
from tests.fixtures.imports import Importer
from tests.integration.catalog.test_products import LAPTOP, create, problem_of

FULL = {
    "name": "Chanel", "description": "A scent", "price": 129.99, "currency": "EUR", "category": "fragrances",
    "brand": "Chanel", "sku": "FRA-1", "stock": 41, "image_url": "https://shop.example/a.webp",
    "attributes": {"rating": 2.56, "tags": ["perfume"], "weight": 12345678901234567.89, "in_box": True},
}  # fmt: skip
EXACT = json.dumps(FULL).replace("1.2345678901234568e+16", "12345678901234567.89")


@pytest.fixture
async def mirrored(catalog: httpx.AsyncClient, auth_process: Auth) -> str:
    """The path of a product that a source has."""
    run = Importer(catalog, auth_process)
    assert (await run.open()).status_code == 200
    page = f'{{"fence": 1, "after": null, "cursor": null, "items": [{EXACT[:-1]}, "external_id": "7"}}]}}'
    staged = await catalog.post(f"{run.url}/pages", content=page, headers=run.headers | JSON)
    assert staged.status_code == 200, staged.text
    assert (await run.merge()).status_code == 200
    product = (await catalog.get("/products")).json()["items"][0]
    return f"/products/{product['id']}"


JSON = {"Content-Type": "application/json"}


async def put(client: httpx.AsyncClient, auth: Auth, path: str, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, str) else json.dumps(body)
    return await client.put(path, content=content, headers=auth.admin | JSON | headers)


class TestPut:
    @pytest.mark.parametrize(
        "change",
        [
            {"price": 44.99}, {"name": "No. 5", "price": 44.99}, {"stock": 0}, {"attributes": {"rating": 1}},
            {"name": "No. 5", "category": "scents", "price": 44.99}, {"description": ""}, {"currency": "USD"},
        ],
    )  # fmt: skip
    async def test_what_is_not_named_stays(
        self, catalog: httpx.AsyncClient, auth_process: Auth, mirrored: str, change: dict[str, Any]
    ) -> None:
        before = (await catalog.get(mirrored)).json()
        changed = await put(catalog, auth_process, mirrored, change)
        assert changed.status_code == 200, changed.text
        after = (await catalog.get(mirrored)).json()
        assert changed.json() == after
        kept = {"version": 2, "pinned": sorted(change), "updated_at": after["updated_at"]}
        assert after == before | change | kept
        assert after["updated_at"] > before["updated_at"]

    @pytest.mark.parametrize(
        ("field", "cleared"),
        [("brand", None), ("sku", None), ("stock", None), ("image_url", None), ("description", ""), ("attributes", {})],
    )
    async def test_null_clears_an_optional_field(
        self, catalog: httpx.AsyncClient, auth_process: Auth, mirrored: str, field: str, cleared: Any
    ) -> None:
        before = (await catalog.get(mirrored)).json()
        after = (await put(catalog, auth_process, mirrored, {field: None})).json()
        assert after[field] == cleared
        assert after["pinned"] == [field]
        assert {k: after[k] for k in FULL if k != field} == {k: before[k] for k in FULL if k != field}

    @pytest.mark.parametrize("field", ["name", "price", "currency", "category"])
    async def test_null_does_not_clear_a_required_field(
        self, catalog: httpx.AsyncClient, auth_process: Auth, mirrored: str, field: str
    ) -> None:
        answer = await put(catalog, auth_process, mirrored, {field: None})
        assert problem_of(answer, 422)["errors"][0]["pointer"] == f"#/{field}"

    async def test_an_answer_can_be_sent_back(
        self, catalog: httpx.AsyncClient, auth_process: Auth, mirrored: str
    ) -> None:
        read = await catalog.get(mirrored)
        same = await put(catalog, auth_process, mirrored, read.text)
        assert same.status_code == 200
        assert same.content == read.content
        assert same.headers["etag"] == read.headers["etag"]
        edited = await put(catalog, auth_process, mirrored, read.text.replace("129.99", "99.99"))
        assert edited.status_code == 200, edited.text
        assert edited.json()["pinned"] == ["price"]
        assert b"12345678901234567.89" in edited.content

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("id", 0), ("version", 7), ("source", "other"), ("source", None), ("external_id", "8"),
            ("created_at", "2026-01-01T00:00:00Z"), ("updated_at", None), ("synced_at", None), ("pinned", ["name"]),
        ],
    )  # fmt: skip
    async def test_what_is_not_writable_is_named(
        self, catalog: httpx.AsyncClient, auth_process: Auth, mirrored: str, name: str, value: Any
    ) -> None:
        answer = problem_of(await put(catalog, auth_process, mirrored, {name: value, "price": 1}), 422)
        assert [error["pointer"] for error in answer["errors"]] == [f"#/{name}"]
        assert name in answer["detail"]
        assert (await catalog.get(mirrored)).json()["version"] == 1

    @pytest.mark.parametrize(
        "body", ["{}", "[]", "null", "1", '{"nmae": "x"}', '{"Name": "x"}', '{"deleted_at": null}']
    )
    async def test_a_body_without_any_field_is_refused(
        self, catalog: httpx.AsyncClient, auth_process: Auth, mirrored: str, body: str
    ) -> None:
        assert problem_of(await put(catalog, auth_process, mirrored, body), 422)["errors"]

    @pytest.mark.parametrize(
        ("attributes", "changes"),
        [
            ({"n": 1.0}, False), ({"n": True}, True), ({"n": "1"}, True), ({"n": [1]}, True),
            ({"n": 1, "m": None}, True), ({}, True),
        ],
    )  # fmt: skip
    async def test_attributes_are_compared_as_json(
        self, catalog: httpx.AsyncClient, auth_process: Auth, attributes: Any, changes: bool
    ) -> None:
        made = await create(catalog, auth_process, attributes={"n": 1})
        answer = await put(catalog, auth_process, f"/products/{made['id']}", {"attributes": attributes})
        assert (answer.json()["version"] == 2) is changes

    async def test_a_price_of_0_can_be_sent_back_but_not_made(
        self, catalog: httpx.AsyncClient, auth_process: Auth
    ) -> None:
        await Importer(catalog, auth_process).run([{**LAPTOP, "external_id": "1", "price": 0}])
        path = f"/products/{(await catalog.get('/products')).json()['items'][0]['id']}"
        free = (await catalog.get(path)).json()
        assert (await put(catalog, auth_process, path, free | {"name": "Gift"})).status_code == 200
        assert (await put(catalog, auth_process, path, {"price": 5})).status_code == 200
        assert (
            problem_of(await put(catalog, auth_process, path, {"price": 0}), 422)["errors"][0]["pointer"] == "#/price"
        )

    async def test_values_of_an_older_release_can_be_sent_back(
        self, catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
    ) -> None:
        path = f"/products/{(await create(catalog, auth_process))['id']}"
        async with await psycopg.AsyncConnection.connect(dsn(catalog_settings), autocommit=True) as connection:
            await connection.execute(
                "UPDATE catalog.products SET currency = 'ZZZ', image_url = 'https://a b', "
                """attributes = '{"n": 1e300}' """
            )
        read = await catalog.get(path)
        answer = await put(catalog, auth_process, path, read.text.replace('"Laptop"', '"Notebook"'))
        assert answer.status_code == 200
        assert answer.json()["name"] == "Notebook"
        assert problem_of(await put(catalog, auth_process, path, {"currency": "ZZY"}), 422)

    async def test_blanks_around_a_text_change_nothing(
        self, catalog: httpx.AsyncClient, auth_process: Auth, mirrored: str
    ) -> None:
        before = await catalog.get(mirrored)
        same = await put(catalog, auth_process, mirrored, {"name": "  Chanel ", "brand": "Chanel\n"})
        assert same.status_code == 200
        assert same.content == before.content

    async def test_a_product_made_here_has_no_pins(self, catalog: httpx.AsyncClient, auth_process: Auth) -> None:
        path = f"/products/{(await create(catalog, auth_process))['id']}"
        assert (await put(catalog, auth_process, path, {"price": 1})).json()["pinned"] == []


class TestSameBytes:
    @pytest.mark.parametrize(
        "number", ["2.56", "12345678901234567.89", "0.1", "1.10", "123456789012345678901234567890", "1e30", "-1E-30"]
    )
    async def test_post_get_list_and_put_tell_the_same(
        self, catalog: httpx.AsyncClient, auth_process: Auth, number: str
    ) -> None:
        body = json.dumps(LAPTOP | {"attributes": {"b": 0, "a a": [True, None, "\u00e9"]}}).replace("0,", f"{number},")
        made = await catalog.post("/products", content=body, headers=auth_process.admin | JSON)
        assert made.status_code == 201, made.text
        read = await catalog.get(made.headers["location"])
        assert made.content == read.content
        assert made.headers["etag"] == read.headers["etag"]
        assert read.content in (await catalog.get("/products")).content
        written = json.loads(read.content, parse_float=Decimal)["attributes"]["b"]
        assert Decimal(written) == Decimal(number)
        renamed = await put(catalog, auth_process, made.headers["location"], {"name": "x"})
        assert renamed.content == (await catalog.get(made.headers["location"])).content


class TestPins:
    async def test_the_next_sync_brings_the_value_of_the_source_back(
        self, catalog: httpx.AsyncClient, auth_process: Auth, mirrored: str
    ) -> None:
        await put(catalog, auth_process, mirrored, {"price": 1, "stock": 2})
        answer = await catalog.delete(f"{mirrored}/pins/price", headers=auth_process.admin)
        assert answer.status_code == 204
        unpinned = (await catalog.get(mirrored)).json()
        assert (unpinned["price"], unpinned["pinned"], unpinned["version"]) == (1, ["stock"], 3)
        await Importer(catalog, auth_process).run([FULL | {"external_id": "7"}])
        after = (await catalog.get(mirrored)).json()
        assert (after["price"], after["stock"], after["pinned"]) == (129.99, 2, ["stock"])

    async def test_twice_is_once(self, catalog: httpx.AsyncClient, auth_process: Auth, mirrored: str) -> None:
        await put(catalog, auth_process, mirrored, {"price": 1})
        for _ in range(2):
            answer = await catalog.delete(f"{mirrored}/pins/price", headers=auth_process.admin)
            assert answer.status_code == 204
        assert (await catalog.get(mirrored)).json()["version"] == 3

    async def test_who_when_and_what(self, catalog: httpx.AsyncClient, auth_process: Auth, mirrored: str) -> None:
        problem_of(await catalog.delete(f"{mirrored}/pins/price"), 401)
        problem_of(await catalog.delete(f"{mirrored}/pins/price", headers=auth_process.user), 403)
        problem_of(await catalog.delete("/products/999999/pins/price", headers=auth_process.admin), 404)
        problem_of(await catalog.delete(f"{mirrored}/pins/colour", headers=auth_process.admin), 422)
        stale = auth_process.admin | {"If-Match": '"7-99"'}
        problem_of(await catalog.delete(f"{mirrored}/pins/price", headers=stale), 412)


class TestRestore:
    async def test_it_comes_back_as_it_was(self, catalog: httpx.AsyncClient, auth_process: Auth, mirrored: str) -> None:
        await put(catalog, auth_process, mirrored, {"price": 1})
        before = (await catalog.get(mirrored)).json()
        assert (await catalog.delete(mirrored, headers=auth_process.admin)).status_code == 204
        restored = await catalog.post(f"{mirrored}/restore", headers=auth_process.admin)
        assert restored.status_code == 200, restored.text
        assert restored.json() == before | {"version": 4, "updated_at": restored.json()["updated_at"]}
        assert (await catalog.get(mirrored)).content == restored.content
        assert (await catalog.get("/products")).json()["total"] == 1
        again = await catalog.post(f"{mirrored}/restore", headers=auth_process.admin)
        assert again.content == restored.content
        await Importer(catalog, auth_process).run([FULL | {"external_id": "7", "stock": 9}])
        assert (await catalog.get(mirrored)).json()["stock"] == 9

    async def test_who_and_what(self, catalog: httpx.AsyncClient, auth_process: Auth, mirrored: str) -> None:
        problem_of(await catalog.post(f"{mirrored}/restore"), 401)
        problem_of(await catalog.post(f"{mirrored}/restore", headers=auth_process.user), 403)
        problem_of(await catalog.post("/products/999999/restore", headers=auth_process.admin), 404)

    async def test_old_deleted_products_without_a_source_are_purged(
        self, catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings, mirrored: str
    ) -> None:
        from catalog import products
        from common.web.database import Database

        paths = [mirrored, *[f"/products/{(await create(catalog, auth_process))['id']}" for _ in range(3)]]
        for path in paths[:3]:
            assert (await catalog.delete(path, headers=auth_process.admin)).status_code == 204
        async with await psycopg.AsyncConnection.connect(dsn(catalog_settings), autocommit=True) as connection:
            await connection.execute(
                "UPDATE catalog.products SET deleted_at = now() - interval '31 days' WHERE deleted_at IS NOT NULL"
            )
            young = int(paths[2].rpartition("/")[2])
            await connection.execute("UPDATE catalog.products SET deleted_at = now() WHERE id = %s", [young])
        async with Database(catalog_settings, application="test") as db:
            assert await products.purge(db) == 1
            assert await products.purge(db) == 0
        statuses = [(await catalog.post(f"{path}/restore", headers=auth_process.admin)).status_code for path in paths]
        assert statuses == [200, 404, 200, 200]


RULES = [
    ("name", "\u200b\u2060", False), ("name", "\u3164", False), ("name", "\u0301", False), ("name", "\u2800 ", False),
    ("name", "x\u200b", True), ("name", "\u00a9", True), ("name", "\U0001f4bb", True), ("category", "\u00ad", False),
    ("currency", "ZZZ", False), ("currency", "XXX", False), ("currency", "XTS", False), ("currency", "CHF", True),
    ("image_url", "https://shop.example/a b.png", False), ("image_url", 'https://shop.example/"x', False),
    ("image_url", "https://shop.example/<x>", False), ("image_url", "https://shop.example/\u200b", False),
    ("image_url", "https://", False), ("image_url", "https://shop.example:99999/", False),
    ("image_url", "ftp://shop.example/", False), ("image_url", "javascript:alert(1)", False),
    ("image_url", "https://shop.example/\u00e9.png?a=b%20c#d", True), ("image_url", "http://shop.example", True),
    ("attributes", {"n": 1e31}, False), ("attributes", {"n": -1e308}, False), ("attributes", {"n": 1e-31}, False),
    ("attributes", {"n": 10**61}, False), ("attributes", {"n": 1e30}, True), ("attributes", {"a": "x" * 33_000}, False),
    ("attributes", {"n": [1e30] * 1100}, False), ("attributes", {"a": [[[[[[[[1]]]]]]]]}, False),
    ("attributes", {"a": [[[[[[1]]]]]]}, True), ("attributes", {"n": 2**63}, True),
]  # fmt: skip


class TestOneTableForBothSides:
    """What a client may write, a source may send, and the other way round."""

    async def test_of_the_api(self, catalog: httpx.AsyncClient, auth_process: Auth) -> None:
        for field, value, fits in RULES:
            answer = await catalog.post("/products", json=LAPTOP | {field: value}, headers=auth_process.admin)
            assert answer.status_code == (201 if fits else 422), (field, value, answer.text)
            path = f"/products/{(await create(catalog, auth_process))['id']}"
            answer = await put(catalog, auth_process, path, {field: value})
            assert answer.status_code == (200 if fits else 422), (field, value, answer.text)

    async def test_of_the_imports(self, catalog: httpx.AsyncClient, auth_process: Auth) -> None:
        for field, value, fits in RULES:
            run = Importer(catalog, auth_process)
            assert (await run.open()).status_code == 200
            answer = await run.stage(None, None, [LAPTOP | {"external_id": "1", field: value}])
            assert answer.status_code == (200 if fits else 422), (field, value, answer.text)
            if not fits:
                (error,) = problem_of(answer, 422)["errors"]
                assert error["pointer"] == f"#/items/0/{field}", error
                assert error["detail"].startswith("must "), error
                assert (await run.open()).json()["staged"] == 0

    @pytest.mark.parametrize(("field", "value", "fits"), RULES)
    def test_of_the_providers(self, field: str, value: Any, fits: bool) -> None:
        from sync.providers import records

        check = {
            "name": lambda it: records.parse_text(it, "name"),
            "category": lambda it: records.parse_text(it, "category"),
            "currency": records.parse_currency, "image_url": lambda it: records.parse_url(it),
            "attributes": records.parse_attributes,
        }[field]  # fmt: skip
        parsed = json.loads(json.dumps(value), parse_float=Decimal)
        if fits:
            assert check(parsed) == parsed
        else:
            with pytest.raises(records.InvalidRecord, match=field):
                check(parsed)

    def test_an_apostrophe_in_a_link_of_a_source_is_escaped(self) -> None:
        from sync.providers import records

        assert records.parse_url("https://shop.example/men's.webp") == "https://shop.example/men%27s.webp"
