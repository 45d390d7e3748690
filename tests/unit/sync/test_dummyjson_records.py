"""DummyJSON: what is rejected, and that one bad record never hurts the others."""

import json
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.providers import ExternalProduct, ProviderConfig, Reject
from sync.providers.dummyjson import DummyJSON
from tests.unit.sync.sources import GOOD, one, raw, read

NESTED = "1"
for _ in range(8):
    NESTED = f'{{"a": {NESTED}}}'

HOSTILE = [
    ('{"id": null}', "id: must be"),
    ('{"id": true}', "id: must be"),
    ('{"id": 1.5}', "id: must be"),
    ('{"id": {"a": 1}}', "id: must be"),
    ('{"id": ""}', "id: must have 1 to 200"),
    (f'{{"id": "{"x" * 201}"}}', "id: must have 1 to 200"),
    (f'{{"id": {"9" * 5_000}}}', "id: must be"),
    (r'{"id": "a\u0000"}', "id: must not hold NUL"),
    ('{"price": null}', "price: must be a number"),
    ('{"price": true}', "price: must be a number"),
    ('{"price": NaN}', "price: must be from 0"),
    ('{"price": Infinity}', "price: must be from 0"),
    ('{"price": -Infinity}', "price: must be from 0"),
    ('{"price": -0.01}', "price: must be from 0"),
    ('{"price": 1e309}', "price: must be from 0"),
    ('{"price": 1e99999999999999999999}', "price: must be from 0"),
    ('{"price": 10000000000}', "price: must be from 0"),
    ('{"price": 9.999}', "price: must have at most 2"),
    ('{"price": 1e-400}', "price: must have at most 2"),
    ('{"price": "12,5"}', "price: must be a number"),
    ('{"price": "NaN"}', "price: must be a number"),
    ('{"price": "1e2"}', "price: must be a number"),
    ('{"price": []}', "price: must be a number"),
    ('{"title": null}', "name: must be a string"),
    ('{"title": 7}', "name: must be a string"),
    ('{"title": "   "}', "name: must have 1 to 300"),
    (f'{{"title": "{"x" * 301}"}}', "name: must have 1 to 300"),
    (f'{{"title": "{"x" * 5_000_000}"}}', "name: must have 1 to 300"),
    (r'{"title": "a\u0000b"}', "name: must not hold NUL"),
    (r'{"title": "a\ud800b"}', "name: must not hold NUL or half"),
    ('{"category": null}', "category: must be a string"),
    (f'{{"category": "{"x" * 101}"}}', "category: must have 1 to 100"),
    (r'{"thumbnail": "http://a.test/\n"}', None),
    (r'{"reviews": [{"comment": "\u0000"}]}', None),
    ("{}", None),
]

# What a product need not have, and the field that stays empty.
UNFIT = [
    (f'{{"description": "{"x" * 20_001}"}}', "description"),
    ('{"description": []}', "description"),
    ('{"brand": {}}', "brand"),
    (f'{{"brand": "{"x" * 201}"}}', "brand"),
    (f'{{"sku": "{"x" * 101}"}}', "sku"),
    ('{"thumbnail": "javascript:alert(1)"}', "image_url"),
    ('{"thumbnail": "https://"}', "image_url"),
    ('{"thumbnail": "http://["}', "image_url"),
    (r'{"thumbnail": "http://a.test/\nb"}', "image_url"),
    (f'{{"thumbnail": "https://x.test/{"x" * 2_000}"}}', "image_url"),
    ('{"stock": -1}', "stock"),
    ('{"stock": 2147483648}', "stock"),
    ('{"stock": 1.5}', "stock"),
    ('{"stock": true}', "stock"),
    ('{"stock": "7"}', "stock"),
    ('{"rating": NaN}', "attributes"),
    ('{"rating": 1e400}', "attributes"),
    (r'{"tags": ["\u0000"]}', "attributes"),
    (r'{"dimensions": {"\udfff": 1}}', "attributes"),
    (f'{{"dimensions": {NESTED}}}', "attributes"),
    (f'{{"images": ["{"x" * 33_000}"]}}', "attributes"),
    ('{"meta": {"barcode": NaN}}', "attributes"),
]


def merged(change: str) -> str:
    """The good record with a part written over it; the last of two equal keys counts."""
    return f"{json.dumps(GOOD)[:-1]}, {change[1:]}" if change != "{}" else json.dumps(GOOD)


class TestHostileRecords:
    @pytest.mark.parametrize(("change", "reason"), HOSTILE, ids=[change[:40] for change, _ in HOSTILE])
    async def test_bad_ones_are_rejected_beside_good_ones(self, change: str, reason: str | None) -> None:
        [page] = await read(raw(merged(change), json.dumps(GOOD | {"id": "good"})))
        assert page.items[-1].external_id == "good"
        if reason is None:
            assert page.rejects == ()
        else:
            [found] = page.rejects
            assert found.reason.startswith(reason)
            check_reject(found)

    @pytest.mark.parametrize(("change", "field"), UNFIT, ids=[change[:40] for change, _ in UNFIT])
    async def test_a_bad_optional_field_stays_empty(
        self, change: str, field: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        [page] = await read(raw(merged(change)))
        assert (len(page.items), page.rejects, page.dropped_fields) == (1, (), 1)
        assert page.items[0] == await one(GOOD)
        assert f"left empty: {field} (1)" in caplog.text

    async def test_the_rest_of_the_attributes_is_kept(self) -> None:
        record = {"rating": float("nan"), "tags": ["a"], "weight": 10**40, "images": ["x" * 33_000], "dimensions": {}}
        [page] = await read(raw(json.dumps(GOOD | record), json.dumps(GOOD | {"id": 2, "stock": -1})))
        assert page.items[0].attributes == {"tags": ["a"], "dimensions": {}}
        assert page.dropped_fields == 4

    @pytest.mark.parametrize(
        ("given", "url"),
        [
            ("/a/b.webp", "https://source.test/a/b.webp"),
            ("b.webp", "https://source.test/b.webp"),
            ("//cdn.test/b.webp", "https://cdn.test/b.webp"),
            ("http://cdn.test/b.webp", "http://cdn.test/b.webp"),
            ("../../men's.webp", "https://source.test/men%27s.webp"),
        ],
    )
    async def test_an_image_may_be_relative_to_the_source(self, given: str, url: str) -> None:
        item = await one(GOOD | {"thumbnail": given})
        assert isinstance(item, ExternalProduct)
        assert item.image_url == url

    async def test_the_key_of_the_source_is_in_no_image(self) -> None:
        handler = raw(json.dumps(GOOD | {"thumbnail": "a.webp"}))
        secret = "https://user:hush-hush@source.test/products?key=hush-hush"
        config = ProviderConfig(url=secret, transport=httpx.MockTransport(handler))
        page = await anext(DummyJSON(config).pages())
        assert page.items[0].image_url == "https://source.test/a.webp"

    @pytest.mark.parametrize("record", ["null", "true", "7", "1.5", "NaN", '"x"', "[]", "[[]]", "{}"])
    async def test_what_is_no_record_at_all(self, record: str) -> None:
        found = await one(record)
        assert isinstance(found, Reject)
        check_reject(found)

    async def test_a_reject_keeps_its_id_when_that_is_good(self) -> None:
        found = await one(GOOD | {"price": -1})
        assert isinstance(found, Reject)
        assert found.external_id == "1"
        assert json.loads(found.payload) == {"id": 1, "title": "Lamp", "price": -1, "category": "lights"}

    # 300 pages of up to 5 records here; most of them are wrong somewhere.
    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\x00", "\ud800"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    )
    fields = st.sampled_from(
        ["id", "title", "price", "category", "stock", "brand", "sku", "thumbnail", "rating", "tags", "meta"]
    )
    anything = st.dictionaries(fields, json_values, max_size=3).map(lambda change: GOOD | change) | json_values

    @settings(max_examples=300, deadline=None)
    @given(st.lists(anything, max_size=5))
    async def test_nothing_raises(self, given: list[Any]) -> None:
        [page] = await read(raw(*map(json.dumps, given)))
        assert len(page.items) + len(page.rejects) == len(given)
        for each in page.rejects:
            check_reject(each)
        # What was accepted must be writable for the catalog: this refuses surrogates and big numbers.
        encoded = msgspec.json.Encoder(decimal_format="number").encode(page.items)
        assert b"\\u0000" not in encoded


def check_reject(reject: Reject) -> None:
    assert reject.reason
    assert reject.payload.isascii()
    assert len(reject.payload) <= 2_048
    assert "\x00" not in reject.payload
    assert reject.external_id is None or reject.external_id.encode().strip(b"\x00")
