"""DummyJSON: what becomes a product."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from sync.providers import (
    ExternalProduct,
)
from tests.unit.sync.sources import GOOD, answer, asked, ids, one, read


class TestTheRealCatalog:
    @pytest.fixture
    def products(self) -> list[dict[str, Any]]:
        file = Path(__file__).parents[3] / "deploy/dummyjson/products.json"
        found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        return found

    async def test_every_product_maps(self, products: list[dict[str, Any]]) -> None:
        def serve(request: httpx.Request) -> httpx.Response:
            skip, limit = asked(request)
            return answer(products[skip : skip + limit], len(products))

        pages = await read(serve)
        assert [len(page.items) for page in pages] == [100, 94]
        assert [page.rejects for page in pages] == [(), ()]
        assert ids(pages) == [product["id"] for product in products]
        prices = [item.price for page in pages for item in page.items]
        assert prices == [Decimal(str(product["price"])) for product in products]

    async def test_the_first_product_in_full(self, products: list[dict[str, Any]]) -> None:
        item = await one(products[0])
        assert isinstance(item, ExternalProduct)
        assert (item.external_id, item.name) == ("1", "Essence Mascara Lash Princess")
        assert (str(item.price), item.currency, item.category) == ("9.99", "USD", "beauty")
        assert (item.brand, item.sku, item.stock) == ("Essence", "BEA-ESS-ESS-001", 99)
        assert item.image_url == products[0]["thumbnail"]
        assert item.description == products[0]["description"]
        kept = {name: item.attributes[name] for name in ("rating", "tags", "dimensions", "barcode", "images")}
        assert json.loads(msgspec.json.Encoder(decimal_format="number").encode(kept)) == {
            "rating": 2.56,
            "tags": ["beauty", "mascara"],
            "dimensions": {"width": 15.14, "height": 13.08, "depth": 22.99},
            "barcode": "5784719087687",
            "images": products[0]["images"],
        }
        assert not {"reviews", "id", "meta", "title"} & set(item.attributes)


class TestMapping:
    async def test_the_least_that_is_a_product(self) -> None:
        item = await one(GOOD)
        assert item == ExternalProduct(
            external_id="1", name="Lamp", price=Decimal("9.99"), category="lights", currency="USD"
        )

    @pytest.mark.parametrize("id", ["1", '"1"', '" 1 "'])
    async def test_ids_are_texts(self, id: str) -> None:
        item = await one(f'{{"id": {id}, "title": "a", "price": 1, "category": "b"}}')
        assert isinstance(item, ExternalProduct)
        assert item.external_id == "1"

    @pytest.mark.parametrize(
        ("given", "price"),
        [
            ("0", "0.00"),
            ("-0.0", "0.00"),
            ("7", "7.00"),
            ("9.990", "9.99"),
            ("1e2", "100.00"),
            ('"12.5"', "12.50"),
            ("9999999999.99", "9999999999.99"),
            ("0.1", "0.10"),
        ],
    )
    async def test_prices_are_exact(self, given: str, price: str) -> None:
        item = await one(f'{{"id": 1, "title": "a", "price": {given}, "category": "b"}}')
        assert isinstance(item, ExternalProduct)
        assert str(item.price) == price

    async def test_blank_and_null_are_absent(self) -> None:
        item = await one(GOOD | {"brand": " ", "sku": None, "thumbnail": "", "stock": None, "description": None})
        assert item == await one(GOOD)

    async def test_limits_are_inclusive(self) -> None:
        full = {
            "title": "x" * 300,
            "description": "x" * 20_000,
            "category": "x" * 100,
            "brand": "x" * 200,
            "sku": "x" * 100,
            "thumbnail": "https://x.test/" + "x" * 1_985,
            "stock": 2**31 - 1,
        }
        assert isinstance(await one(GOOD | full), ExternalProduct)
