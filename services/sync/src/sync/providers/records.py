"""From one hostile record to an `ExternalProduct`, or to the reason why not.

The limits are those of the catalog: a record that passes here is stored there. Each function takes a value as
it came out of `sync.providers.http.parse` and raises `BadRecord`, which names the field and the rule.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import msgspec

from sync.providers.base import Reject

__all__ = ["BadRecord", "extras", "identity", "link", "money", "optional_text", "reject", "stock", "text"]

MAX_ID = 200
MAX_PRICE = Decimal("9999999999.99")
MAX_STOCK = 2**31 - 1
MAX_LINK = 2_000
MAX_EXTRAS_BYTES = 32 * 1024
MAX_EXTRAS_DEPTH = 8
MAX_PAYLOAD = 2_048

# Twelve digits hold the highest price; a longer text is refused before Decimal has to read it.
_PLAIN_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_json = msgspec.json.Encoder(decimal_format="number")


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


def text(value: object, field: str, *, most: int, least: int = 1) -> str:
    """The text without the blanks around it."""
    if not isinstance(value, str):
        raise BadRecord(field, "must be a text")
    stripped = value.strip()
    if not least <= len(stripped) <= most:
        raise BadRecord(field, f"must have {least} to {most} characters")
    if _UNSTORABLE.search(stripped):
        raise BadRecord(field, "must not hold NUL or half of a surrogate pair")
    return stripped


def optional_text(value: object, field: str, *, most: int) -> str | None:
    """Like `text`; absent, null and blank are all None."""
    if value is None:
        return None
    return text(value, field, most=most, least=0) or None


def money(value: object, field: str = "price") -> Decimal:
    """The amount with two places; one that would have to be rounded is refused."""
    if isinstance(value, str) and _PLAIN_DECIMAL.fullmatch(value):
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise BadRecord(field, "must be a number")
    amount = Decimal(value)
    if not amount.is_finite() or not 0 <= amount <= MAX_PRICE:
        raise BadRecord(field, f"must be from 0 to {MAX_PRICE}")
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
    if url is not None and not _is_link(url):
        raise BadRecord(field, "must be an http or https address")
    return url


def _is_link(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and url.isprintable() and " " not in url
    except ValueError:
        return False


def extras(value: Mapping[str, Any], field: str = "attributes") -> dict[str, Any]:
    """Everything else a source says about a product, if the catalog can store it."""
    found = dict(value)
    _check_json(found, field, depth=1)
    if len(_json.encode(found)) > MAX_EXTRAS_BYTES:
        raise BadRecord(field, f"must have at most {MAX_EXTRAS_BYTES} bytes of JSON")
    return found


def _check_json(value: object, field: str, *, depth: int) -> None:
    match value:
        case None | bool():
            return
        case str():
            if _UNSTORABLE.search(value):
                raise BadRecord(field, "must not hold NUL or half of a surrogate pair")
        case int() | float() | Decimal():
            _check_number(value, field)
        case dict() | list():
            _check_nested(value, field, depth=depth)
        case _:
            raise BadRecord(field, "must hold JSON values only")


def _check_number(value: int | float | Decimal, field: str) -> None:
    number = Decimal(value)
    # Beyond a double most readers of JSON see infinity; the catalog would write 1e9999 out in full.
    if not number.is_finite() or abs(number.adjusted()) > 300:
        raise BadRecord(field, "must not hold NaN, infinity or numbers beyond 1e300")
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise BadRecord(field, "must not hold whole numbers beyond 64 bits")


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
