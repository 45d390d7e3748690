"""A look at a source before it is trusted: its records beside what becomes of them, and options that are guessed."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.providers import ProviderConfig, ProviderMisconfigured, ProviderRefused, load
from sync.providers.http import Answer
from sync.providers.proposals import guessed, propose
from sync.providers.samples import sample
from tests.unit.sync.loopback import Asked, answer, serving
from tests.unit.sync.token_shop import TokenShop

MAPPING = {"external_id": "id", "name": "title", "price": "price", "category": {"const": "all"}, "stock": "stock"}


class TestSamples:
    async def test_raw_beside_mapped(self) -> None:
        records = [
            {"id": 1, "title": "Lamp", "price": 9.5, "stock": -1, "text": "x" * 500},
            {"id": 2, "title": "Lamp"},
            "nothing",
        ]
        async with serving(lambda _: answer(records)) as server:
            provider = load("rest", ProviderConfig(url=server("/"), options={"mapping": MAPPING}))
            found = await sample(provider)
            await provider.aclose()
            assert len(server.requests) == 1
        assert [each.raw if isinstance(each.raw, str) else each.raw["id"] for each in found] == [1, 2, "nothing"]
        assert len(found[0].raw["text"]) == 123
        assert found[0].product is not None
        assert found[0].product.price == Decimal("9.50")
        assert found[0].dropped == ("stock",)
        assert [each.reason for each in found] == [None, "price: must be a number", "record: must be an object"]

    async def test_of_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.ndjson").write_text('{"id": 1, "title": "a", "price": 1}\n{broken\n' * 20, "utf-8")
        options = {"format": "ndjson", "mapping": MAPPING}
        config = ProviderConfig(url="file:a.ndjson", options=options, files_folder=str(tmp_path))
        found = await sample(load("file", config), 5)
        assert [each.raw if isinstance(each.raw, str) else each.raw["id"] for each in found] == [
            1, "{broken", 1, "{broken", 1
        ]  # fmt: skip

    async def test_of_a_provider_that_shows_no_records(self) -> None:
        records = [{"code": "a", "label": "A", "amount": 1}, {"code": "b"}]
        async with serving(lambda _: answer({"data": records, "next": "more"})) as server:
            provider = TokenShop(ProviderConfig(url=server("/")))
            found = await sample(provider)
            await provider.aclose()
            assert len(server.requests) == 1
        assert [(each.raw, each.product is not None) for each in found] == [(None, True), (None, False)]

    @pytest.mark.parametrize(("asked", "given"), [(0, 1), (7, 7), (10_000, 100)])
    async def test_there_are_not_many(self, asked: int, given: int) -> None:
        records = [{"id": number, "title": "a", "price": 1} for number in range(200)]
        async with serving(lambda _: answer(records)) as server:
            provider = load("rest", ProviderConfig(url=server("/"), options={"mapping": MAPPING}))
            assert len(await sample(provider, asked)) == given
            await provider.aclose()

    async def test_its_errors_are_those_of_a_pass(self) -> None:
        async with serving(lambda _: answer({}, status=403)) as server:
            provider = load("rest", ProviderConfig(url=server("/"), options={"mapping": MAPPING}))
            with pytest.raises(ProviderRefused):
                await sample(provider)
            await provider.aclose()


def by_offset(asked: Asked) -> httpx.Response:
    skip, limit = int(asked.params.get("skip", 0)), int(asked.params.get("limit", 30))
    file = Path(__file__).parents[3] / "deploy/dummyjson/products.json"
    products = json.loads(file.read_text("utf-8"))
    found = products[skip : skip + limit]
    return answer({"products": found, "total": len(products), "skip": skip, "limit": limit})


def by_cursor(asked: Asked) -> httpx.Response:
    start = int(asked.params.get("cursor", 0))
    rows = [
        {
            "sku": f"A-{n}",
            "displayName": f"Rug {n}",
            "priceRange": {"min": 1},
            "price": {"amount": "80.5", "currency": "EUR"},
            "product-type": "rugs",
            "type": {"name": "rugs"},
            "images": [],
            "image": [{"src": "/a.webp"}],
            "inventory_quantity": "7",
        }
        for n in range(start, min(start + 10, 25))
    ]
    return answer({"result": {"rows": rows, "tags": ["a"] * 50, "next-cursor": start + 10 if start < 20 else None}})


def by_page(asked: Asked) -> httpx.Response:
    page = int(asked.params["page_number"] if "page_number" in asked.params else asked.params.get("page", 1))
    rows = [{"id": n, "name": n, "price": 5, "category": "a"} for n in range(page * 10, min(page * 10 + 10, 35))]
    return answer({"meta": {"last_page": 3, "page": page}, "data": rows})


def by_link(asked: Asked) -> httpx.Response:
    page = int(asked.params.get("p", 0))
    rows = [{"id": n, "title": "A", "price": 5, "type": "a"} for n in range(page * 10, page * 10 + 10)]
    return answer(rows, link=f'<?p={page + 1}>; rel="next"') if page < 2 else answer(rows)


def by_next_url(asked: Asked) -> httpx.Response:
    page = int(asked.params.get("p", 0))
    rows = [{"id": n, "title": "A", "price": 5, "type": "a"} for n in range(page * 10, page * 10 + 10)]
    return answer({"results": rows, "next": f"/?p={page + 1}" if page < 2 else None, "count": 30})


class TestProposals:
    @pytest.mark.parametrize(
        ("handler", "kind", "count"),
        [
            (by_offset, "offset", 194),
            (by_cursor, "cursor", 25),
            (by_page, "page", 25),
            (by_link, "link", 30),
            (by_next_url, "next_url", 30),
            (lambda _: answer([{"id": 1, "title": "A", "price": 5, "category": "a"}]), "none", 1),
        ],
        ids=["offset", "cursor", "page", "link", "next_url", "none"],
    )
    async def test_what_is_proposed_reads_the_source(self, handler: Any, kind: str, count: int) -> None:
        async with serving(handler) as server:
            options = await propose(ProviderConfig(url=server("/")))
            assert options["paging"]["kind"] == kind
            provider = load("rest", ProviderConfig(url=server("/"), options=options))
            pages = [page async for page in provider.pages()]
            await provider.aclose()
        assert sum(len(page.items) for page in pages) == count
        assert [page.rejects for page in pages if page.rejects] == []

    async def test_what_is_what(self) -> None:
        async with serving(by_cursor) as server:
            assert await propose(ProviderConfig(url=server("/"))) == {
                "items": "result.rows",
                "paging": {"kind": "cursor", "next": 'result."next-cursor"'},
                "mapping": {
                    "external_id": "sku",
                    "name": "displayName",
                    "price": {"path": "price.amount", "cast": "number"},
                    "category": '"product-type"',
                    "sku": "sku",
                    "stock": {"path": "inventory_quantity", "cast": "integer"},
                    "image_url": "image[0].src",
                },
            }

    async def test_with_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SOURCE_A", "hush-hush")

        def handler(asked: Asked) -> httpx.Response:
            allowed = asked.headers.get("x-key") == "hush-hush" and asked.params == {"key": "hush-hush", "lang": "en"}
            return answer([{"id": 1, "title": "A"}], status=200 if allowed else 401)

        reference = {"env": "SOURCE_A"}
        given = {
            "auth": {"kind": "header", "name": "X-Key", "value": reference},
            "query": {"key": reference, "lang": "en"},
        }
        async with serving(handler) as server:
            found = await propose(ProviderConfig(url=server("/"), options=given | {"mapping": {}}))
            assert found == given | {
                "items": "@",
                "paging": {"kind": "none"},
                "mapping": {"external_id": "id", "name": "title"},
            }
            with pytest.raises(ProviderMisconfigured, match=r"options\.mapping\.price: is required"):
                load("rest", ProviderConfig(url=server("/"), options=found))

    @pytest.mark.parametrize("value", [None, 7, "x", [], {}, [1], [[]], {"a": [1]}, {"a": {"b": [None]}}])
    async def test_where_there_is_nothing(self, value: Any) -> None:
        async with serving(lambda _: answer(value)) as server:
            assert await propose(ProviderConfig(url=server("/"))) == {}

    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("/next"),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["id", "next", "a b", "price", "image", "total", "skip", "limit", '"']), inner
            )
        ),
        max_leaves=12,
    )

    @settings(max_examples=300, deadline=None)
    @given(json_values)
    def test_whatever_is_proposed_is_valid(self, value: Any) -> None:
        found = guessed(Answer(value, httpx.Headers()), httpx.URL("https://source.test/"))
        if found:
            least = dict.fromkeys(("external_id", "name", "price", "category"), "x")
            options = found | {"mapping": least | found["mapping"]}
            load("rest", ProviderConfig(url="https://source.test/", options=options))
