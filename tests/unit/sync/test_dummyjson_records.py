"""DummyJSON: what is rejected, and that one bad record never hurts the others."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.providers import (
    Reject,
)
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
    (f'{{"description": "{"x" * 20_001}"}}', "description: must have 1 to 20000"),
    ('{"description": []}', "description: must be a string"),
    ('{"brand": {}}', "brand: must be a string"),
    (f'{{"brand": "{"x" * 201}"}}', "brand: must have 1 to 200"),
    (f'{{"sku": "{"x" * 101}"}}', "sku: must have 1 to 100"),
    ('{"thumbnail": "javascript:alert(1)"}', "image_url: must be an http"),
    ('{"thumbnail": "https://"}', "image_url: must be an http"),
    ('{"thumbnail": "http://["}', "image_url: must be an http"),
    (r'{"thumbnail": "http://a.test/\n"}', None),
    (r'{"thumbnail": "http://a.test/\nb"}', "image_url: must be an http"),
    (f'{{"thumbnail": "https://x.test/{"x" * 2_000}"}}', "image_url: must have 1 to 2000"),
    ('{"stock": -1}', "stock: must be from 0"),
    ('{"stock": 2147483648}', "stock: must be from 0"),
    ('{"stock": 1.5}', "stock: must be a whole"),
    ('{"stock": true}', "stock: must be a whole"),
    ('{"stock": "7"}', "stock: must be a whole"),
    ('{"rating": NaN}', "attributes: must not hold NaN"),
    ('{"rating": 1e400}', "attributes: must hold"),
    (r'{"tags": ["\u0000"]}', "attributes: must not hold NUL"),
    (r'{"dimensions": {"\udfff": 1}}', "attributes: must not hold NUL"),
    (f'{{"dimensions": {NESTED}}}', "attributes: must be at most 8 levels deep"),
    (f'{{"images": ["{"x" * 33_000}"]}}', "attributes: must be at most 32768 bytes"),
    ('{"meta": {"barcode": NaN}}', "attributes: must not hold NaN"),
    (r'{"reviews": [{"comment": "\u0000"}]}', None),
    ("{}", None),
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
