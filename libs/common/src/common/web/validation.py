"""What is wrong with a client's input: pydantic's errors in sentences of ours."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from common.web.errors import Unprocessable

__all__ = ["unprocessable"]

# What a client sends may come back in a problem: never more than this of it.
MAX_POINTER, MAX_DETAIL = 200, 300
_ENUM_MEMBER = re.compile(r"<[\w.]+: ('[^']*')>")
_SENTENCES = {
    "missing": "is required",
    "string_type": "must be a string",
    "string_pattern_mismatch": "must match {pattern}",
    "int_type": "must be a whole number",
    "dict_type": "must be an object",
    "model_attributes_type": "must be an object",
    "uuid_parsing": "must be a UUID",
    "literal_error": "must be {expected}",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "enum": "must be {expected}",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
}
_COUNTS = {
    "string_too_short": ("at least", "min_length", "character"),
    "string_too_long": ("at most", "max_length", "character"),
    # Of texts that are normalised before; pydantic then speaks of items.
    "too_short": ("at least", "min_length", "character"),
    "too_long": ("at most", "max_length", "character"),
    "decimal_max_places": ("at most", "decimal_places", "decimal"),
}


def unprocessable(faults: Sequence[Mapping[str, Any]], known: Sequence[str] = ()) -> Unprocessable:
    """The 422 for errors as pydantic and FastAPI tell them; `known` are the fields of the body."""
    errors = [_error(fault, known) for fault in faults[: Unprocessable.MAX_ERRORS]]
    first = errors[0]
    detail = f"{first.get('parameter') or first.get('pointer')}: {first['detail']}"
    return Unprocessable(detail, errors, truncated=len(faults) > len(errors))


def _error(fault: Mapping[str, Any], known: Sequence[str]) -> dict[str, str]:
    where, *path = fault["loc"]
    place = {"pointer": _pointer(path)} if where == "body" else {"parameter": str(path[0])[:MAX_POINTER]}
    return place | {"detail": _sentence(fault, known)[:MAX_DETAIL]}


def _sentence(fault: Mapping[str, Any], known: Sequence[str]) -> str:
    # Of the context only our own limits are used: what came in may be secret, or not encodable.
    kind, context = fault["type"], fault.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "extra_forbidden":
        return f"unknown field; known here: {', '.join(known) or 'none'}"
    if kind in _COUNTS:
        bound, name, noun = _COUNTS[kind]
        return f"must have {bound} {context[name]} {noun}{'' if context[name] == 1 else 's'}"
    # pydantic tells the members of an enum as Python does, `<Role.USER: 'user'>`.
    return _ENUM_MEMBER.sub(r"\1", _SENTENCES.get(kind, "is not valid").format_map(context))


def _pointer(path: Sequence[int | str]) -> str:
    """A JSON pointer (RFC 6901) as a URI fragment, cut at MAX_POINTER characters."""
    parts = (str(part)[:MAX_POINTER].replace("~", "~0").replace("/", "~1") for part in path)
    return ("#" + "".join(f"/{part}" for part in parts))[:MAX_POINTER]
