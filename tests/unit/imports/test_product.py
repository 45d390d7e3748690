"""The contract between sync and catalog: fields, limits, rules, and messages that are exact."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from common.json_encoding import dumps
from imports.messages import MAX_ITEMS, Fence, ImportPage, Reject, decode_page
from imports.product import EXTERNAL_ID, FIELDS, ExternalProduct, checked

LAMP = {"external_id": "7", "name": "Lamp", "price": 9.99, "category": "lights"}
FRACTIONS = ("2.56", "0.1", "12345678901234567.89", "-1e-30", "123456789012345678901234567890")


def lamp(**changes: Any) -> ExternalProduct:
    values: dict[str, Any] = {"external_id": "7", "name": "Lamp", "price": Decimal("9.99"), "category": "lights"}
    return ExternalProduct(**values | changes)


def page(*items: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"fence": 1, "after": None, "cursor": None, "items": list(items)} | more).encode()


def test_what_is_sent_is_what_is_taken() -> None:
    attributes = {"numbers": [Decimal(number) for number in FRACTIONS[:4]] + [int(FRACTIONS[4])], "deep": {"a": [None]}}
    item = lamp(price=Decimal("12345678.90"), attributes=attributes, stock=3, image_url="https://a.example/b.png")
    reject = Reject(external_id=None, reason="name: must be a string", payload="{}")
    sent = ImportPage(fencing_token=3, after=None, cursor="next", items=[item], rejects=[reject])
    assert decode_page(dumps(sent)) == sent
    assert json.loads(dumps(sent))["fence"] == 3


@pytest.mark.parametrize("number", FRACTIONS)
def test_numbers_are_exact(number: str) -> None:
    body = page(LAMP | {"attributes": {"n": 0}}).replace(b'"n": 0', b'"n": ' + number.encode())
    (item,) = decode_page(body).items
    assert item.attributes["n"] == Decimal(number)


BROKEN = [
    ({"name": ""}, "name"), ({"name": "x" * 301}, "name"), ({"name": "\u200b"}, "name"), ({"name": "a\x00"}, "name"),
    ({"description": "x" * 20_001}, "description"), ({"description": "\x00"}, "description"),
    ({"price": -1}, "price"), ({"price": 10**10}, "price"), ({"price": 1.005}, "price"),
    ({"currency": "usd"}, "currency"), ({"currency": "USDT"}, "currency"), ({"category": " "}, "category"),
    ({"brand": "x" * 201}, "brand"), ({"sku": "x" * 101}, "sku"), ({"stock": -1}, "stock"), ({"stock": 2**31}, "stock"),
    ({"stock": 1.5}, "stock"), ({"image_url": "javascript:alert(1)"}, "image_url"),
    ({"attributes": {"a": "\x00"}}, "attributes"), ({"attributes": {"\x00": 1}}, "attributes"),
    ({"attributes": {"n": 10**61}}, "attributes"), ({"attributes": []}, "attributes"),
    ({"external_id": ""}, "external_id"), ({"external_id": "x" * 201}, "external_id"),
    ({"external_id": "\u3164"}, "external_id"), ({"external_id": 7}, "external_id"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "field"), BROKEN, ids=lambda it: str(it)[:40])
def test_a_broken_rule_is_named_with_its_place(change: dict[str, Any], field: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=rf" - at `\$\.items\[1\]\.{field}`$"):
        decode_page(page(LAMP, LAMP | change))
    with pytest.raises(ValueError, match=f"^{field}: "):
        checked(lamp(**change))


@pytest.mark.parametrize("value", [float("nan"), Decimal("Infinity"), {1: 2}, {3}, b"x", "\ud800", [[[[[[[[[1]]]]]]]]]])
def test_what_is_no_json_is_no_attribute(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^attributes: must "):
        checked(lamp(attributes={"a": value}))


@pytest.mark.parametrize("more", [{"fence": 0}, {"fence": True}, {"fence": 2**63}, {"items": [LAMP] * (MAX_ITEMS + 1)}])
def test_a_page_has_limits(more: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_page(page(**more))


def test_what_a_newer_release_says_more_is_ignored() -> None:
    refused = {"external_id": None, "reason": "price: must be a number", "payload": "{}"}
    more = {"later": 1}
    newer = page(items=[LAMP | more], rejects=[refused | more], **more)
    assert decode_page(newer) == decode_page(page(items=[LAMP], rejects=[refused]))


def test_what_a_source_must_say() -> None:
    for name in ("external_id", "name", "price", "category"):
        with pytest.raises(msgspec.ValidationError, match=f"missing required field `{name}`"):
            decode_page(page({key: value for key, value in LAMP.items() if key != name}))
    defaults = lamp()
    assert (defaults.description, defaults.currency, defaults.stock, defaults.attributes) == ("", "USD", None, {})


def test_fields_are_taken_apart() -> None:
    assert (FIELDS["name"].max_length, FIELDS["brand"].max_length, EXTERNAL_ID.max_length) == (300, 200, 200)
    assert {field.name for field in FIELDS.values() if field.nullable} >= {"brand", "sku", "stock", "image_url"}
    required = {field.name for field in FIELDS.values() if field.required}
    assert required == {"name", "price", "category"}
    cleared = {field.name: field.default for field in FIELDS.values() if field.clearable}
    nullable = {"brand": None, "sku": None, "stock": None, "image_url": None}
    assert cleared.items() >= ({"description": "", "attributes": {}} | nullable).items()
    assert (FIELDS["stock"].type, FIELDS["attributes"].type) == (int, dict[str, Any])


def test_a_fence_is_no_page() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_page(msgspec.json.encode(Fence(fencing_token=1)))
