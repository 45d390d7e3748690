"""Parses the fields of one record, which may hold anything, for an `ExternalProduct`.

The limits and rules are those of `imports.product`: a record that passes here is stored by catalog. Each function takes
a value as it came out of `sync.providers.http.parse` and raises `InvalidRecord`, which names the field and the rule.

Only what a product must have makes a record a reject. `Optionals` reads the rest: what is not valid stays empty.
"""

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urljoin, urlsplit

from imports import rules
from imports.messages import MAX_PAYLOAD, Reject
from imports.product import EXTERNAL_ID, FIELDS, ExternalProduct

__all__ = [
    "InvalidRecord",
    "Mapped",
    "Optionals",
    "parse_attributes",
    "parse_currency",
    "parse_id",
    "parse_optional_text",
    "parse_price",
    "parse_stock",
    "parse_text",
    "parse_url",
    "read_record",
    "reject",
    "shortened",
]

# Twelve digits hold the highest price; a longer text is refused before Decimal has to read it.
_PLAIN_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")


T = TypeVar("T")
V = TypeVar("V")


class InvalidRecord(Exception):
    """The record is not a valid product."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")


class Mapped(NamedTuple):
    """What became of one record: a product or a reject. `dropped` are the optional fields that stayed empty."""

    product: ExternalProduct | None
    reject: Reject | None
    dropped: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """What tells it from other records: its id, or what it holds."""
        if self.product is not None:
            return self.product.external_id
        assert self.reject is not None
        return self.reject.external_id or self.reject.payload


class Optionals:
    """Reads the optional fields of one record; those that are not valid stay empty, and `dropped` names them."""

    def __init__(self) -> None:
        self.dropped: list[str] = []

    def text(self, value: object, field: str) -> str | None:
        return self._read(lambda it: parse_optional_text(it, field), value, field)

    def value(self, read: Callable[[], T], field: str) -> T | None:
        """What `read` gives; it raises `InvalidRecord` for what is not valid."""
        try:
            return read()
        except InvalidRecord:
            self.dropped.append(field)
            return None

    def stock(self, value: object) -> int | None:
        return self._read(parse_stock, value, "stock")

    def url(self, value: object, base: str = "") -> str | None:
        """An image's address, which may be relative to that of the source."""
        return self._read(lambda it: parse_url(it, base), value, "image_url")

    def attributes(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """All of them, or those that are valid and fit, in their order."""
        try:
            return parse_attributes(value)
        except InvalidRecord:
            kept: dict[str, Any] = {}
        for name, each in value.items():
            try:
                parse_attributes({name: each})  # alone, so that a large one is not checked with each of the others
                kept = parse_attributes(kept | {name: each})
            except InvalidRecord:
                self.dropped.append("attributes")
        return kept

    def _read(self, parse: Callable[[V], T], value: V, field: str) -> T | None:
        return self.value(lambda: parse(value), field)


def read_record(
    record: object, parse: Callable[[Any, Optionals], ExternalProduct], identify: Callable[[Any], object]
) -> Mapped:
    """The product that `parse` makes of the record, or its reject; `identify` finds the id of one that is an object."""
    optional = Optionals()
    try:
        if not isinstance(record, dict):
            raise InvalidRecord("record", "must be an object")
        return Mapped(parse(record, optional), None, tuple(optional.dropped))
    except InvalidRecord as error:
        return Mapped(None, _reject(record, str(error), identify))


def parse_id(value: object) -> str:
    """The id at the source as a string, so that 1 and "1" are one product."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise InvalidRecord("id", "must be a string or a whole number")
    return _parse_text(value, "id", EXTERNAL_ID.max_length)


def parse_text(value: object, field: str) -> str:
    """The text of this field of a product, without the spaces around it."""
    return _parse_text(value, field, FIELDS[field].max_length)


def parse_optional_text(value: object, field: str) -> str | None:
    """Like `parse_text`; absent, null and blank are all None."""
    if value is None or (isinstance(value, str) and len(value) <= FIELDS[field].max_length and rules.is_blank(value)):
        return None
    return parse_text(value, field)


def _parse_text(value: object, label: str, most: int) -> str:
    if not isinstance(value, str):
        raise InvalidRecord(label, "must be a string")
    stripped = value.strip()
    if not 1 <= len(stripped) <= most:
        raise InvalidRecord(label, f"must have 1 to {most} characters")
    return _apply(rules.visible, stripped, label)


def parse_price(value: object) -> Decimal:
    """The amount with two decimal places; one that would have to be rounded is refused."""
    if isinstance(value, str) and _PLAIN_DECIMAL.fullmatch(value):
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise InvalidRecord("price", "must be a number")
    amount = _apply(rules.price, Decimal(value), "price")
    return abs(amount.quantize(rules.CENT))  # -0.0 is not below 0


def parse_stock(value: object) -> int | None:
    """The number of pieces; absent and null are None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRecord("stock", "must be a whole number")
    if not 0 <= value <= rules.MAX_STOCK:
        raise InvalidRecord("stock", f"must be from 0 to {rules.MAX_STOCK}")
    return value


def parse_url(value: object, base: str = "") -> str | None:
    """An http(s) address, which may be relative to `base`; absent, null and blank are None."""
    url = parse_optional_text(value, "image_url")
    if url is None:
        return None
    try:
        url = url if urlsplit(url).scheme else urljoin(base, url)
    except ValueError:
        raise InvalidRecord("image_url", "must be an address") from None
    # An apostrophe is legal in a URL but ends an attribute of HTML; escaped, it means the same.
    return parse_optional_text(_apply(rules.image_url, url.replace("'", "%27"), "image_url"), "image_url")


def parse_currency(value: object) -> str:
    """A code of ISO 4217."""
    return _apply(rules.currency, parse_text(value, "currency"), "currency")


def parse_attributes(value: Mapping[str, Any]) -> dict[str, Any]:
    """Everything else a source says about a product, if catalog can store it."""
    return _apply(rules.attributes, dict(value), "attributes")


def _apply(rule: Callable[[T], T], value: T, field: str) -> T:
    try:
        return rule(value)
    except ValueError as error:
        raise InvalidRecord(field, str(error)) from None


def reject(record: object, reason: str, *, id_field: str = "id") -> Reject:
    """The reject of a record that is not a valid product."""
    return _reject(record, reason, lambda it: it.get(id_field))


def _reject(record: object, reason: str, identify: Callable[[Any], object]) -> Reject:
    try:
        external_id = parse_id(identify(record)) if isinstance(record, dict) else None
    except InvalidRecord:
        external_id = None
    payload = json.dumps(shortened(record), default=str)
    return Reject(external_id=external_id, reason=reason, payload=payload[:MAX_PAYLOAD])


def shortened(value: object, *, depth: int = 0) -> object:
    """The value with long texts and lists shortened and deep parts left out, so that it is small."""
    if isinstance(value, str):
        return value if len(value) <= 120 else value[:120] + "..."
    if isinstance(value, Decimal):
        return value if value.is_finite() and len(f"{value}") <= 20 else f"{value:.20g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 2**64 else f"{Decimal(value):.20g}"
    if not isinstance(value, dict | list):
        return value
    if depth == 3:
        return "..."
    if isinstance(value, list):
        return [shortened(item, depth=depth + 1) for item in value[:8]]
    return {str(key)[:60]: shortened(item, depth=depth + 1) for key, item in list(value.items())[:40]}
