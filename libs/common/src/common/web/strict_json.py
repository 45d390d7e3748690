"""JSON of requests and responses: a strict parser, and exact numbers."""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from starlette.responses import Response

from common.json_encoding import dumps
from common.web.errors import InvalidJSON

__all__ = ["MAX_DEPTH", "JSONResponse", "loads"]

MAX_DEPTH = 32
_SURROGATE = re.compile("[\ud800-\udfff]")


class JSONResponse(Response):
    """A JSON response, encoded by msgspec."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return dumps(content)


def loads(raw: bytes) -> Any:
    """Parse the JSON of a request (RFC 8259, in UTF-8); floats become Decimal.

    Raises InvalidJSON also for what Python's parser accepts but PostgreSQL or our responses cannot hold: NaN, Infinity,
    numbers beyond a double, NUL, lone surrogates, duplicate keys, nesting deeper than MAX_DEPTH.
    """
    try:
        value = json.loads(
            raw.decode("utf-8"),
            parse_float=_number,
            parse_int=_integer,
            parse_constant=_constant,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError:
        raise InvalidJSON("The body must be UTF-8.") from None
    except json.JSONDecodeError as error:
        raise InvalidJSON(f"{error.msg} at line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise InvalidJSON(f"The body is nested deeper than {MAX_DEPTH} levels.") from None
    _check(value, 1)
    return value


def _check(value: Any, depth: int) -> None:
    if isinstance(value, str):
        if "\x00" in value or _SURROGATE.search(value):
            raise InvalidJSON("Strings must not contain NUL or lone surrogates.")
    elif isinstance(value, dict | list):
        if depth > MAX_DEPTH:
            raise InvalidJSON(f"The body is nested deeper than {MAX_DEPTH} levels.")
        if isinstance(value, dict):
            for key in value:
                _check(key, depth)
            value = value.values()
        for item in value:
            _check(item, depth + 1)


def _constant(name: str) -> NoReturn:
    raise InvalidJSON(f"{name} is not a JSON number.")


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = None
    if number is None or len(text) > 400 or abs(number.adjusted()) > 308:
        raise InvalidJSON("A number is out of range.")
    return number


def _integer(text: str) -> int:
    if len(text) > 309:
        raise InvalidJSON("A number is out of range.")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise InvalidJSON("An object has a key twice.")
    return value
