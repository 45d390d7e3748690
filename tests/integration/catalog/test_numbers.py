"""Numbers leave as they came: what binary floats cannot hold is stored, compared and answered exactly."""

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest
import sqlalchemy as sa

from catalog.models import Product
from catalog.settings import CatalogSettings
from common.web.orm import OrmDatabase
from tests.fixtures.catalog import Auth
from tests.fixtures.databases import dsn
from tests.fixtures.imports import Importer, counts
from tests.integration.catalog.test_products import LAPTOP

# Each with another number that is the same binary float.
NEIGHBOURS = {
    "2.56": "2.5600000000000001",
    "0.1": "0.10000000000000001",
    "12345678901234567.89": "12345678901234567.9",
    "1.10": "1.1000000000000001",
    "123456789012345678901234567890": "123456789012345678901234567891",
    "-1.5e-10": "-1.50000000000000001e-10",
}
NUMBERS = list(NEIGHBOURS)
JSON = {"Content-Type": "application/json"}


def with_number(number: str, **more: Any) -> str:
    """A product's JSON with `number` in its attributes, as it stands there."""
    return json.dumps(LAPTOP | more | {"attributes": {"rating": "NUMBER"}}).replace('"NUMBER"', number)


def rating(answer: httpx.Response) -> Decimal:
    product = json.loads(answer.text, parse_float=Decimal)
    return Decimal(product["attributes"]["rating"])


async def put(client: httpx.AsyncClient, auth: Auth, path: str, content: str) -> httpx.Response:
    answer = await client.put(path, content=content, headers=auth.admin | JSON)
    assert answer.status_code == 200, answer.text
    return answer


async def imported(client: httpx.AsyncClient, auth: Auth, number: str) -> dict[str, int]:
    """Stage and merge one product with `number`; returns the counts."""
    run = Importer(client, auth)
    assert (await run.open()).status_code == 200
    page = f'{{"fence": 1, "after": null, "cursor": null, "items": [{with_number(number, external_id="7")}]}}'
    staged = await client.post(f"{run.url}/pages", content=page, headers=run.headers | JSON)
    assert staged.status_code == 200, staged.text
    merged: dict[str, int] = (await run.merge()).json()
    return merged


async def stored(settings: CatalogSettings) -> tuple[Decimal, str]:
    """The number as PostgreSQL compares it, and as it writes it."""
    query = "SELECT (attributes->'rating')::numeric, attributes->>'rating' FROM catalog.products"
    async with await psycopg.AsyncConnection.connect(dsn(settings)) as connection:
        row = await (await connection.execute(query)).fetchone()
    assert row is not None
    return row[0], row[1]


@pytest.mark.parametrize("number", NUMBERS)
class TestWritten:
    async def test_it_is_stored_and_answered_exactly(
        self, catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings, number: str
    ) -> None:
        made = await catalog.post("/products", content=with_number(number), headers=auth_process.admin | JSON)
        path = made.headers["location"]
        read, listed = await catalog.get(path), await catalog.get("/products")
        assert made.content == read.content
        assert read.content in listed.content
        assert rating(read) == Decimal(number)
        assert await stored(catalog_settings) == (
            Decimal(number),
            read.text.partition('"rating": ')[2].partition("}")[0],
        )
        changed = await put(catalog, auth_process, path, f'{{"attributes": {{"rating": {number}, "new": {number}}}}}')
        assert rating(changed) == Decimal(number)
        assert changed.content == (await catalog.get(path)).content

    async def test_an_unchanged_answer_that_is_sent_back_changes_nothing(
        self, catalog: httpx.AsyncClient, auth_process: Auth, number: str
    ) -> None:
        made = await catalog.post("/products", content=with_number(number), headers=auth_process.admin | JSON)
        path = made.headers["location"]
        assert (await put(catalog, auth_process, path, made.text)).content == made.content
        same = await put(catalog, auth_process, path, f'{{"attributes": {{"rating": {number}}}}}')
        assert same.content == made.content
        assert same.headers["etag"] == made.headers["etag"]


@pytest.mark.parametrize("number", NUMBERS)
class TestImported:
    async def test_it_is_staged_merged_and_compared_exactly(
        self, catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings, number: str
    ) -> None:
        assert await imported(catalog, auth_process, number) == counts(created=1)
        assert (await stored(catalog_settings))[0] == Decimal(number)
        assert await imported(catalog, auth_process, number) == counts(unchanged=1)
        neighbour = NEIGHBOURS[number]
        assert float(neighbour) == float(number)
        assert await imported(catalog, auth_process, neighbour) == counts(updated=1)
        assert (await stored(catalog_settings))[0] == Decimal(neighbour)

    async def test_an_edit_of_the_price_pins_the_price_alone(
        self, catalog: httpx.AsyncClient, auth_process: Auth, number: str
    ) -> None:
        await imported(catalog, auth_process, number)
        path = f"/products/{(await catalog.get('/products')).json()['items'][0]['id']}"
        read = await catalog.get(path)
        assert (await put(catalog, auth_process, path, read.text)).content == read.content
        edited = await put(catalog, auth_process, path, read.text.replace("999.99", "899.99"))
        assert edited.json()["pinned"] == ["price"]
        assert rating(edited) == Decimal(number)
        assert await imported(catalog, auth_process, number) == counts(pinned=1)


@pytest.mark.parametrize("number", ["2.56", "0.1"])
async def test_a_client_that_reads_floats_changes_what_it_changes_alone(
    catalog: httpx.AsyncClient, auth_process: Auth, number: str
) -> None:
    await imported(catalog, auth_process, number)
    product = (await catalog.get("/products")).json()["items"][0]
    assert isinstance(product["attributes"]["rating"], float)
    path = f"/products/{product['id']}"
    assert (await put(catalog, auth_process, path, json.dumps(product))).json()["version"] == 1
    assert (await put(catalog, auth_process, path, json.dumps(product | {"price": 1.1}))).json()["pinned"] == ["price"]


class TestJSONB:
    @pytest.fixture
    async def db(self, catalog: httpx.AsyncClient, catalog_settings: CatalogSettings) -> AsyncIterator[OrmDatabase]:
        db = OrmDatabase(catalog_settings, application="test")
        yield db
        await db.close()

    @pytest.mark.parametrize("number", NUMBERS)
    async def test_sqlalchemy_writes_and_reads_decimals(
        self, db: OrmDatabase, catalog_settings: CatalogSettings, number: str
    ) -> None:
        values = LAPTOP | {"price": Decimal("999.99"), "currency": "USD", "attributes": {"rating": Decimal(number)}}
        async with db.write_session() as session:
            await session.execute(sa.insert(Product).values(values))
        async with db.read_session() as session:
            (attributes,) = await session.scalars(sa.select(Product.attributes))
        assert attributes == {"rating": Decimal(number)}
        assert not isinstance(attributes["rating"], float)
        assert (await stored(catalog_settings))[0] == Decimal(number)
