"""The rules of values that their types and lengths do not say.

Each takes a value whose type and length are checked already, and returns it or raises ValueError with what it must be.
"""

import re
import unicodedata
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from common.json_encoding import dumps
from imports.currencies import CURRENCIES

__all__ = [
    "CENT",
    "MAX_PRICE",
    "MAX_STOCK",
    "attributes",
    "currency",
    "image_url",
    "is_blank",
    "price",
    "storable",
    "visible",
]

MAX_PRICE = Decimal("9999999999.99")
CENT = Decimal("0.01")
MAX_STOCK = 2**31 - 1
MAX_ATTRIBUTES_BYTES = 32 * 1024
MAX_ATTRIBUTES_DEPTH = 8
# PostgreSQL writes a number out in full: 1e300 would be 301 digits of every answer.
MAX_EXPONENT = 30
MAX_DIGITS = 60

# Letters and symbols of Unicode that show nothing: fillers of Hangul, and the empty pattern of Braille.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")
# What no URL holds unescaped (RFC 3986); letters of other scripts are let through, as browsers do.
_UNFIT_FOR_URL = re.compile(r"""[\s"'<>\\^`{|}\x00-\x20\x7f]""").search
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]").search


def is_blank(value: str) -> bool:
    """Whether a text shows nothing: it is empty, or all spaces, control and joining characters."""
    return not any(unicodedata.category(char)[0] in "LNPS" and char not in _BLANK for char in value)


def storable(value: str) -> str:
    if _UNSTORABLE(value):
        raise ValueError("must not hold NUL or half of a surrogate pair")
    return value


def visible(value: str) -> str:
    """Storable too."""
    if is_blank(value):
        raise ValueError("must hold a character that is visible")
    return storable(value)


def currency(value: str) -> str:
    if value not in CURRENCIES:
        raise ValueError("must be a currency of ISO 4217 that is in use, such as USD or EUR")
    return value


def image_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        fit = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fit = False
    if not fit or _UNFIT_FOR_URL(value) or not value.isprintable():
        raise ValueError("must be an http:// or https:// URL, with spaces and quotes percent-encoded")
    return value


def price(value: Decimal) -> Decimal:
    if not value.is_finite() or not 0 <= value <= MAX_PRICE:
        raise ValueError(f"must be from 0 to {MAX_PRICE}")
    if value.quantize(CENT) != value:
        raise ValueError("must have at most 2 decimal places")
    return value


def attributes(value: dict[str, Any]) -> dict[str, Any]:
    """JSON of a size that is bounded as it is stored and answered, with numbers written out in full."""
    if _stored_excess(value, 1) + len(dumps(value)) > MAX_ATTRIBUTES_BYTES:
        raise ValueError(f"must be at most {MAX_ATTRIBUTES_BYTES} bytes of JSON")
    return value


def _stored_excess(value: Any, depth: int) -> int:
    """Bytes that PostgreSQL's form of `value` has beyond ours: blanks and digits. Raises for what cannot be stored."""
    match value:
        case None | bool():
            return 0
        case str():
            storable(value)
            return 0
        case int() | float() | Decimal():
            return _digits(Decimal(value) if isinstance(value, int) else Decimal(str(value)))
        case dict() | list():
            return _excess_of_members(value, depth)
    raise ValueError("must hold JSON values only")


def _excess_of_members(value: dict[Any, Any] | list[Any], depth: int) -> int:
    if depth > MAX_ATTRIBUTES_DEPTH:
        raise ValueError(f"must be at most {MAX_ATTRIBUTES_DEPTH} levels deep")
    for key in value if isinstance(value, dict) else ():
        if not isinstance(key, str):
            raise ValueError("must have strings as keys")
        storable(key)
    members = value.values() if isinstance(value, dict) else value
    blanks = (2 if isinstance(value, dict) else 1) * len(value)
    return blanks + sum(_stored_excess(member, depth + 1) for member in members)


def _digits(number: Decimal) -> int:
    if not number.is_finite():
        raise ValueError("must not hold NaN or infinity")
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    if len(digits) > MAX_DIGITS or max(abs(exponent), abs(number.adjusted())) > MAX_EXPONENT:
        raise ValueError(f"must hold numbers from 1e-{MAX_EXPONENT} to 1e{MAX_EXPONENT} of at most {MAX_DIGITS} digits")
    return abs(exponent)
