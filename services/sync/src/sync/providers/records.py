"""Parses the fields of one record, which may hold anything, for an `ExternalProduct`.

The limits and rules are those of `imports.product`: a record that passes here is stored by catalog. Each function takes
a value as it came out of `sync.providers.http.parse` and raises `InvalidRecord`, which names the field and the rule.
"""

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeVar

from imports import rules
from imports.messages import MAX_PAYLOAD, Reject
from imports.product import EXTERNAL_ID, FIELDS

__all__ = [
    "InvalidRecord",
    "parse_attributes",
    "parse_currency",
    "parse_id",
    "parse_optional_text",
    "parse_price",
    "parse_stock",
    "parse_text",
    "parse_url",
    "reject",
]

# Twelve digits hold the highest price; a longer text is refused before Decimal has to read it.
_PLAIN_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")


T = TypeVar("T")


class InvalidRecord(Exception):
    """The record is not a valid product."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")


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


def parse_url(value: object) -> str | None:
    """An http(s) address; absent, null and blank are None."""
    url = parse_optional_text(value, "image_url")
    # An apostrophe is legal in a URL but ends an attribute of HTML; escaped, it means the same.
    return None if url is None else _apply(rules.image_url, url.replace("'", "%27"), "image_url")


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
    try:
        external_id = parse_id(record.get(id_field)) if isinstance(record, dict) else None
    except InvalidRecord:
        external_id = None
    payload = json.dumps(_brief(record, depth=0), default=str)
    return Reject(external_id=external_id, reason=reason, payload=payload[:MAX_PAYLOAD])


def _brief(value: object, *, depth: int) -> object:
    """The value with long texts and lists shortened and deep parts left out, so that it is small."""
    if isinstance(value, str):
        return value if len(value) <= 120 else value[:120] + "..."
    if isinstance(value, Decimal | int) and not isinstance(value, bool):
        return value if isinstance(value, int) and abs(value) < 2**64 else f"{Decimal(value):.20g}"
    if not isinstance(value, dict | list):
        return value
    if depth == 3:
        return "..."
    if isinstance(value, list):
        return [_brief(item, depth=depth + 1) for item in value[:8]]
    return {str(key)[:60]: _brief(item, depth=depth + 1) for key, item in list(value.items())[:40]}
