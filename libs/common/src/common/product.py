"""What a product may hold: one set of rules for clients of the API and for sources.

Each function takes a value whose length is checked already, and returns it or raises ValueError with the rule.
"""

import re
import unicodedata
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import msgspec

__all__ = ["CURRENCIES", "MAX_PRICE", "attributes", "currency", "image_url", "is_blank", "visible"]

_encode = msgspec.json.Encoder(decimal_format="number").encode
MAX_PRICE = Decimal("9999999999.99")
MAX_ATTRIBUTES_BYTES = 32 * 1024
MAX_ATTRIBUTES_DEPTH = 8
# PostgreSQL writes a number out in full: 1e300 would be 301 digits of every answer.
MAX_EXPONENT = 30
MAX_DIGITS = 60

# ISO 4217, the currencies in use; not the codes for tests (XTS) and for none (XXX).
_CODES = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE
    CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ
    GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL
    LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR
    PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY
    TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAF XAG XAU XCD XCG XDR XOF XPD XPF XPT XSU XUA
    YER ZAR ZMW ZWG
"""
CURRENCIES = frozenset(_CODES.split())
# Letters and symbols of Unicode that show nothing: fillers of Hangul, and the empty pattern of Braille.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")
# What no URL holds unescaped (RFC 3986); letters of other scripts are let through, as browsers do.
_UNFIT_FOR_URL = re.compile(r"""[\s"'<>\\^`{|}\x00-\x20\x7f]""").search


def is_blank(value: str) -> bool:
    """Whether a text shows nothing: it is empty, or all spaces, control and joining characters."""
    return not any(unicodedata.category(char)[0] in "LNPS" and char not in _BLANK for char in value)


def visible(value: str) -> str:
    if is_blank(value):
        raise ValueError("must hold a character that is visible")
    return value


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


def attributes(value: dict[str, Any]) -> dict[str, Any]:
    """Bounded as it is stored and answered, numbers written out in full."""
    if _size(value, 1) + len(_encode(value)) > MAX_ATTRIBUTES_BYTES:
        raise ValueError(f"must be at most {MAX_ATTRIBUTES_BYTES} bytes of JSON")
    return value


def _size(value: Any, depth: int) -> int:
    """Bytes that PostgreSQL's form of `value` has beyond ours: blanks and digits. Raises for what is out of range."""
    if isinstance(value, dict | list):
        if depth > MAX_ATTRIBUTES_DEPTH:
            raise ValueError(f"must be at most {MAX_ATTRIBUTES_DEPTH} levels deep")
        items = value.values() if isinstance(value, dict) else value
        return (2 if isinstance(value, dict) else 1) * len(value) + sum(_size(item, depth + 1) for item in items)
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return _digits(Decimal(value) if isinstance(value, int) else Decimal(str(value)))
    return 0


def _digits(number: Decimal) -> int:
    if not number.is_finite():
        raise ValueError("must not hold NaN or infinity")
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    if len(digits) > MAX_DIGITS or max(abs(exponent), abs(number.adjusted())) > MAX_EXPONENT:
        raise ValueError(f"must hold numbers from 1e-{MAX_EXPONENT} to 1e{MAX_EXPONENT} of at most {MAX_DIGITS} digits")
    return abs(exponent)
