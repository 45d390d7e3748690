"""What a PUT changes: the writable fields whose values differ from what is stored."""

from typing import Any

from pydantic import ValidationError

from catalog.rows import ProductRow
from catalog.schemas import ProductChange
from common.json_encoding import dumps, loads
from common.web.errors import Unprocessable
from common.web.validation import unprocessable
from imports.product import FIELDS

__all__ = ["changes", "document"]

_MISSING = object()
_READ_ONLY = tuple(name for name in ProductRow.__struct_fields__ if name not in FIELDS)


def document() -> dict[str, Any]:
    """The JSON Schema of a PUT's body, with the members of an answer that may be sent back."""
    schema: dict[str, Any] = ProductChange.model_json_schema()
    for name, member in schema["properties"].items():
        member.pop("default", None)
        member["title"] = name
    schema["properties"] |= {name: {"description": "Not writable; accepted as it is stored."} for name in _READ_ONLY}
    return schema | {"minProperties": 1}


def changes(product: ProductRow, sent: dict[str, Any]) -> dict[str, Any]:
    """The fields of `sent` with a value other than `product` has; raises Unprocessable for what cannot be written.

    A value that is equal to the stored one is not validated, so an answer can always be sent back.
    """
    if not sent:
        raise Unprocessable(
            f"The body names no field; send at least one of {', '.join(FIELDS)}.",
            [{"pointer": "#", "detail": "must name at least one field"}],
        )
    stored = loads(dumps(product))
    differing = {name: value for name, value in sent.items() if not _same(stored.get(name, _MISSING), value)}
    if read_only := [name for name in differing if name in _READ_ONLY]:
        detail = "cannot be written, and differs from what is stored"
        raise Unprocessable(
            f"Not writable: {', '.join(read_only)}. Leave them out, or send them as they are stored.",
            [{"pointer": f"#/{name}", "detail": detail} for name in read_only],
        )
    # Blanks around a text are cut, so it may turn out to be the stored one.
    return {name: value for name, value in _validated(differing).items() if not _same(stored[name], value)}


def _validated(sent: dict[str, Any]) -> dict[str, Any]:
    """The new values; null has become what an empty field holds."""
    try:
        change = ProductChange.model_validate(sent)
    except ValidationError as error:
        faults = [fault | {"loc": ("body", *fault["loc"])} for fault in error.errors()]
        raise unprocessable(faults, tuple(FIELDS)) from None
    values = {name: getattr(change, name) for name in FIELDS if name in change.model_fields_set}
    return {name: FIELDS[name].default if value is None else value for name, value in values.items()}


def _same(stored: Any, sent: Any) -> bool:
    """Whether two JSON values are equal: numbers by their exact value, and true is not 1."""
    if isinstance(stored, dict) and isinstance(sent, dict):
        return stored.keys() == sent.keys() and all(_same(stored[name], sent[name]) for name in stored)
    if isinstance(stored, list) and isinstance(sent, list):
        return len(stored) == len(sent) and all(map(_same, stored, sent))
    return isinstance(stored, bool) == isinstance(sent, bool) and stored == sent
