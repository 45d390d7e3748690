"""What a PUT changes: the members that differ from what is stored, and of these the ones that a client may write."""

from typing import Any

from pydantic import ValidationError

from catalog.models import FIELDS
from catalog.rows import ProductRow
from catalog.schemas import ProductChange
from common.json_encoding import dumps, loads
from common.web.errors import Unprocessable
from common.web.validation import unprocessable

__all__ = ["changes", "document"]

_CLEARED = {"description": "", "attributes": {}}
_MISSING = object()


def document() -> dict[str, Any]:
    """The JSON Schema of a PUT's body, with the members of an answer that may be sent back."""
    schema = ProductChange.model_json_schema()
    for name, member in schema["properties"].items():
        member.pop("default", None)
        member["title"] = name
    kept = [name for name in ProductRow.__struct_fields__ if name not in FIELDS]
    schema["properties"] |= {name: {"description": "As it is stored."} for name in kept}
    return schema | {"minProperties": 1}


def changes(product: ProductRow, sent: dict[str, Any]) -> dict[str, Any]:
    """The fields of `sent` with a value other than `product` has; raises Unprocessable for what cannot be written.

    What is equal to the stored value is not looked at any further: an answer can always be sent back.
    """
    if not sent:
        raise Unprocessable(
            f"The body names no field; send at least one of {', '.join(FIELDS)}.",
            [{"pointer": "#", "detail": "must name at least one field"}],
        )
    stored = loads(dumps(product))
    differing = {name: value for name, value in sent.items() if not _same(stored.get(name, _MISSING), value)}
    kept = [name for name in differing if name in stored and name not in FIELDS]
    if kept:
        raise Unprocessable(
            f"Not writable: {', '.join(kept)}. Leave them out, or send them as they are stored.",
            [{"pointer": f"#/{name}", "detail": "cannot be written, and differs from what is stored"} for name in kept],
        )
    try:
        change = ProductChange.model_validate(differing)
    except ValidationError as error:
        raise unprocessable([fault | {"loc": ("body", *fault["loc"])} for fault in error.errors()], FIELDS) from None
    values = {name: getattr(change, name) for name in FIELDS if name in change.model_fields_set}
    values |= {name: empty for name, empty in _CLEARED.items() if values.get(name, _MISSING) is None}
    # Blanks around a text are cut, so it may turn out to be the stored one.
    return {name: value for name, value in values.items() if not _same(stored[name], value)}


def _same(stored: Any, sent: Any) -> bool:
    """Whether two JSON values are equal: numbers by their exact value, and true is not 1."""
    if isinstance(stored, dict) and isinstance(sent, dict):
        return stored.keys() == sent.keys() and all(_same(stored[name], sent[name]) for name in stored)
    if isinstance(stored, list) and isinstance(sent, list):
        return len(stored) == len(sent) and all(map(_same, stored, sent))
    return isinstance(stored, bool) == isinstance(sent, bool) and stored == sent
