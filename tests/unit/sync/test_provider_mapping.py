"""Rules of a mapping: what becomes of what a record says."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.providers import ExternalProduct
from sync.providers.http import parse
from sync.providers.mapping import MappingOptions, mapper
from sync.providers.records import Mapped

LEAST: dict[str, Any] = {"external_id": "id", "name": "name", "price": "price", "category": "kind"}
RECORD = '{"id": 7, "name": "Lamp", "price": 9.99, "kind": "lights"'


def mapped(rules: dict[str, Any], more: str = "", base: str = "") -> Mapped:
    options = msgspec.convert(LEAST | rules, MappingOptions)
    text = f"{RECORD}, {more}}}" if more else f"{RECORD}}}"
    return mapper(options, base)(parse(text.encode()))


def product(rules: dict[str, Any], more: str = "", base: str = "") -> ExternalProduct:
    found = mapped(rules, more, base)
    assert found.product is not None, found.reject
    assert found.dropped == ()
    return found.product


@pytest.mark.parametrize(
    ("rule", "more", "price"),
    [
        ("price", "", "9.99"),
        ("cost", '"cost": "12.5"', "12.50"),
        ({"path": "cost", "cast": "number"}, '"cost": " 12.5 "', "12.50"),
        ({"path": "cost", "cast": "number"}, '"cost": "1e2"', "100.00"),
        ({"path": "cost", "cast": "cents"}, '"cost": 1999', "19.99"),
        ({"path": "cost", "cast": "cents"}, '"cost": "1999"', "19.99"),
        ({"path": "cost", "cast": "cents"}, '"cost": 5', "0.05"),
        ({"path": "cost", "cast": "integer"}, '"cost": 12.0', "12.00"),
        ({"path": "cost || price"}, '"cost": null', "9.99"),
        ({"path": "min(variants[].p)"}, '"variants": [{"p": 2.50}, {"p": 1.25}]', "1.25"),
        ({"path": "variants[?p > `1.5`] | [0].p"}, '"variants": [{"p": 1.25}, {"p": 2.50}]', "2.50"),
        ({"path": "to_number(cost)"}, '"cost": "0.10"', "0.10"),
        ({"path": "cost", "default": 1.1}, "", "1.10"),
        ({"const": 3}, "", "3.00"),
        ({"const": "4.5"}, "", "4.50"),
    ],
)
def test_prices(rule: Any, more: str, price: str) -> None:
    assert str(product({"price": rule}, more).price) == price


@pytest.mark.parametrize(
    ("rule", "more"),
    [
        ("cost", ""),
        ("cost", '"cost": "12,5"'),
        ({"path": "cost", "cast": "number"}, '"cost": "12,5"'),
        ({"path": "cost", "cast": "number"}, '"cost": [1]'),
        ({"path": "cost", "cast": "number"}, '"cost": true'),
        ({"path": "cost", "cast": "number"}, '"cost": "NaN"'),
        ({"path": "cost", "cast": "number"}, '"cost": 1e400'),
        ({"path": "cost", "cast": "number"}, f'"cost": "{"9" * 5_000}"'),
        ({"path": "cost", "cast": "integer"}, '"cost": 1.5'),
        ({"path": "cost", "cast": "cents"}, '"cost": 19.99'),
        ({"path": "min(cost)"}, '"cost": 7'),
        ({"path": "sum(name)"}, ""),
        ({"path": "to_number(name)"}, ""),
        ({"path": "to_number(cost)"}, '"cost": [1]'),
        ({"path": "cost", "default": "none"}, ""),
    ],
)
def test_what_is_no_price(rule: Any, more: str) -> None:
    found = mapped({"price": rule}, more)
    assert found.reject is not None
    assert found.reject.reason.startswith("price: ")
    assert found.reject.external_id == "7"


@pytest.mark.parametrize(
    ("rule", "more", "name"),
    [
        ({"join": ["brand", "name"]}, '"brand": "Acme"', "Acme Lamp"),
        ({"join": ["brand", "name", "size"], "separator": " - "}, '"size": 12.50', "Lamp - 12.50"),
        ({"join": ["a", "b"], "default": "Unnamed"}, "", "Unnamed"),
        ({"path": "id", "cast": "string"}, "", "7"),
        ({"path": "size", "cast": "string"}, '"size": 1e3', "1000"),
        ({"path": "names[?lang == 'en'].text | [0]"}, '"names": [{"lang": "en", "text": "Lamp!"}]', "Lamp!"),
        ({"path": "join(', ', tags)"}, '"tags": ["a", "b"]', "a, b"),
        ({"path": "to_string(price)"}, "", "9.99"),
        ({"path": "i18n.\"en-US\""}, '"i18n": {"en-US": "Light"}', "Light"),
    ],
)  # fmt: skip
def test_names(rule: Any, more: str, name: str) -> None:
    assert product({"name": rule}, more).name == name


def test_everything() -> None:
    rules = {
        "description": "text",
        "currency": "price_currency",
        "brand": "maker.name",
        "sku": {"path": "id", "cast": "string"},
        "stock": {"path": "sum(stocks[].n)", "cast": "integer"},
        "image_url": "images[0]",
        "attributes": {"color": "color", "sizes": "sizes[].s", "origin": {"const": "feed"}, "gone": "nothing"},
    }
    more = (
        '"text": "Bright", "price_currency": "EUR", "maker": {"name": "Acme"}, "stocks": [{"n": 2}, {"n": 3}], '
        '"images": ["a b.webp", "c.webp"], "color": "red", "sizes": [{"s": 1.5}, {"s": 2}]'
    )
    assert product(rules, more.replace("a b", "a"), "https://source.test/feed/") == ExternalProduct(
        external_id="7",
        name="Lamp",
        description="Bright",
        price=Decimal("9.99"),
        currency="EUR",
        category="lights",
        brand="Acme",
        sku="7",
        stock=5,
        image_url="https://source.test/feed/a.webp",
        attributes={"color": "red", "sizes": [Decimal("1.5"), 2], "origin": "feed"},
    )


@pytest.mark.parametrize(
    ("field", "rule", "more"),
    [
        ("stock", "n", '"n": -1'),
        ("stock", {"path": "n", "cast": "integer"}, '"n": "many"'),
        ("brand", "n", '"n": {}'),
        ("brand", {"path": "n", "cast": "string"}, '"n": []'),
        ("image_url", "n", '"n": "a.webp"'),
        ("sku", "n", '"n": 7'),
        ("description", {"join": ["n"]}, '"n": [1]'),
    ],
)
def test_optional_fields_that_are_not_valid_stay_empty(field: str, rule: Any, more: str) -> None:
    found = mapped({field: rule}, more)
    assert found.dropped == (field,)
    assert found.product == product({})


def test_attributes_that_are_not_valid_stay_out() -> None:
    rules = {"attributes": {"a": {"path": "n", "cast": "number"}, "b": "price", "c": "m"}}
    found = mapped(rules, '"n": "x", "m": "\\u0000"')
    assert found.product is not None
    assert found.product.attributes == {"b": Decimal("9.99")}
    assert found.dropped == ("attributes", "attributes")


@pytest.mark.parametrize("more", ['"c": null', '"c": "ZZZ"', '"c": 7', '"d": "EUR"'])
def test_a_price_without_its_currency_is_no_price(more: str) -> None:
    """Stored as dollars, it would be another price."""
    found = mapped({"currency": "c"}, more)
    assert found.reject is not None
    assert found.reject.reason.startswith("currency: ")


@pytest.mark.parametrize("record", [None, 7, "x", [], True, {}, {"id": []}])
def test_what_is_no_record(record: Any) -> None:
    found = mapper(msgspec.convert(LEAST, MappingOptions), "")(record)
    assert found.reject is not None
    assert found.reject.external_id is None


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(["\0", "\ud800", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
rules = st.sampled_from(
    ["x", {"path": "x.a || x"}, {"join": ["x", "id"]}, {"path": "x", "default": 1}]
    + [{"path": "x", "cast": cast} for cast in ("string", "number", "integer", "cents")]
    + [{"path": f"{name}(x)"} for name in ("sum", "max", "keys", "length", "to_number", "to_string", "avg", "sort")]
)


@settings(max_examples=400, deadline=None)
@given(values, st.dictionaries(st.sampled_from([*LEAST, "brand", "stock", "image_url", "currency"]), rules), rules)
def test_nothing_raises(value: Any, fields: dict[str, Any], attribute: Any) -> None:
    options = msgspec.convert(LEAST | fields | {"attributes": {"a": attribute}}, MappingOptions)
    found = mapper(options, "https://source.test/")({"id": 1, "name": "a", "price": 1, "kind": "b", "x": value})
    assert (found.product is None) is (found.reject is not None)
    # What was accepted must be writable for the catalog.
    msgspec.json.Encoder(decimal_format="number").encode(found.product)
