"""From one hostile record to an `ExternalProduct`, or to the reason why not.

The limits are those of the catalog: a record that passes here is stored there. Each function takes a value as
it came out of `sync.providers.http.parse` and raises `BadRecord`, which names the field and the rule.
"""

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeVar

from common import product
from sync.providers.base import Reject

__all__ = ["BadRecord", "currency", "extras", "identity", "link", "money", "optional_text", "reject", "stock", "text"]

MAX_ID = 200
MAX_STOCK = 2**31 - 1
MAX_LINK = 2_000
MAX_EXTRAS_DEPTH = 8
MAX_PAYLOAD = 2_048

# Twelve digits hold the highest price; a longer text is refused before Decimal has to read it.
_PLAIN_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


T = TypeVar("T")


class BadRecord(Exception):
    """This record cannot become a product."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")


def identity(value: object, field: str = "id") -> str:
    """The id as text, so that 1 and "1" are one product."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise BadRecord(field, "must be a text or a whole number")
    return text(value, field, most=MAX_ID)


def text(value: object, field: str, *, most: int) -> str:
    """The text without the spaces around it."""
    if not isinstance(value, str):
        raise BadRecord(field, "must be a text")
    stripped = value.strip()
    if not 1 <= len(stripped) <= most:
        raise BadRecord(field, f"must have 1 to {most} characters")
    if _UNSTORABLE.search(stripped):
        raise BadRecord(field, "must not hold NUL or half of a surrogate pair")
    return _ruled(product.visible, stripped, field)


def optional_text(value: object, field: str, *, most: int) -> str | None:
    """Like `text`; absent, null and blank are all None."""
    if value is None or (isinstance(value, str) and len(value) <= most and product.is_blank(value)):
        return None
    return text(value, field, most=most)


def money(value: object, field: str = "price") -> Decimal:
    """The amount with two places; one that would have to be rounded is refused."""
    if isinstance(value, str) and _PLAIN_DECIMAL.fullmatch(value):
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise BadRecord(field, "must be a number")
    amount = Decimal(value)
    if not amount.is_finite() or not 0 <= amount <= product.MAX_PRICE:
        raise BadRecord(field, f"must be from 0 to {product.MAX_PRICE}")
    cents = amount.quantize(Decimal("0.01"))
    if cents != amount:
        raise BadRecord(field, "must have at most 2 decimal places")
    return abs(cents)  # -0.0 is not below 0


def stock(value: object, field: str = "stock") -> int | None:
    """The number of pieces; absent and null are None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRecord(field, "must be a whole number")
    if not 0 <= value <= MAX_STOCK:
        raise BadRecord(field, f"must be from 0 to {MAX_STOCK}")
    return value


def link(value: object, field: str = "image_url") -> str | None:
    """An http(s) address; absent, null and blank are None."""
    url = optional_text(value, field, most=MAX_LINK)
    # An apostrophe is legal in a URL but ends an attribute of HTML; escaped, it means the same.
    return None if url is None else _ruled(product.image_url, url.replace("'", "%27"), field)


def currency(value: object, field: str = "currency") -> str:
    """A code of ISO 4217."""
    return _ruled(product.currency, text(value, field, most=3), field)


def _ruled(rule: Callable[[T], T], value: T, field: str) -> T:
    try:
        return rule(value)
    except ValueError as error:
        raise BadRecord(field, str(error)) from None


def extras(value: Mapping[str, Any], field: str = "attributes") -> dict[str, Any]:
    """Everything else a source says about a product, if the catalog can store it."""
    found = dict(value)
    _check_json(found, field, depth=1)
    return _ruled(product.attributes, found, field)


def _check_json(value: object, field: str, *, depth: int) -> None:
    match value:
        case str():
            if _UNSTORABLE.search(value):
                raise BadRecord(field, "must not hold NUL or half of a surrogate pair")
        case None | bool() | int() | float() | Decimal():
            return
        case dict() | list():
            _check_nested(value, field, depth=depth)
        case _:
            raise BadRecord(field, "must hold JSON values only")


def _check_nested(value: dict[Any, Any] | list[Any], field: str, *, depth: int) -> None:
    if depth > MAX_EXTRAS_DEPTH:
        raise BadRecord(field, f"must be nested at most {MAX_EXTRAS_DEPTH} deep")
    for key in value if isinstance(value, dict) else ():
        if not isinstance(key, str):
            raise BadRecord(field, "must have texts as keys")
        _check_json(key, field, depth=depth)
    for item in value.values() if isinstance(value, dict) else value:
        _check_json(item, field, depth=depth + 1)


def reject(record: object, reason: str, *, id_field: str = "id") -> Reject:
    """The note that is kept of a record that is no product."""
    try:
        external_id = identity(record.get(id_field)) if isinstance(record, dict) else None
    except BadRecord:
        external_id = None
    payload = json.dumps(_brief(record, depth=0), default=str)
    return Reject(external_id=external_id, reason=reason, payload=payload[:MAX_PAYLOAD])


def _brief(value: object, *, depth: int) -> object:
    """The value with long texts and lists cut and deep parts left out, so that it is cheap to write."""
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
