"""The fields of a product: one definition, with limits and rules, for clients of the API, for sources and for imports.

A field is a type, its limits (`msgspec.Meta`), and a rule of `imports.rules` where these do not say enough.
"""

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, get_args, get_type_hints

import msgspec
from msgspec import Meta

from imports import rules

__all__ = ["ExternalProduct", "ProductFields", "check", "checked", "max_length", "metadata"]


class ProductFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a product says. A field with a default that is empty or null is optional."""

    name: Annotated[str, Meta(min_length=1, max_length=300), rules.visible]
    description: Annotated[str, Meta(max_length=20_000), rules.storable] = ""
    price: Annotated[Decimal, rules.price]
    currency: Annotated[str, Meta(max_length=3), rules.currency] = "USD"
    category: Annotated[str, Meta(min_length=1, max_length=100), rules.visible]
    brand: Annotated[str, Meta(min_length=1, max_length=200), rules.visible] | None = None
    sku: Annotated[str, Meta(min_length=1, max_length=100), rules.visible] | None = None
    stock: Annotated[int, Meta(ge=0, le=rules.MAX_STOCK)] | None = None
    image_url: Annotated[str, Meta(min_length=1, max_length=2000), rules.image_url] | None = None
    attributes: Annotated[dict[str, Any], rules.attributes] = msgspec.field(default_factory=dict)


class ExternalProduct(ProductFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One product as its source describes it. Fractions in `attributes` are `Decimal`."""

    external_id: Annotated[str, Meta(min_length=1, max_length=200), rules.visible]


_HINTS = get_type_hints(ExternalProduct, include_extras=True)


@cache
def metadata(field: str) -> tuple[Any, ...]:
    """The limits and rules of a field, whether or not it is optional."""
    parts = (_HINTS[field], *get_args(_HINTS[field]))
    return next((part.__metadata__ for part in parts if hasattr(part, "__metadata__")), ())


def max_length(field: str) -> int:
    """How many characters a field of text may have."""
    return next(limits.max_length for limits in metadata(field) if isinstance(limits, Meta) and limits.max_length)


_RULES: list[tuple[str, Callable[[Any], Any]]] = [
    (field, rule) for field in _HINTS for rule in metadata(field) if callable(rule)
]


def check(product: ExternalProduct) -> None:
    """Raises ValueError, `field: rule`, for a value that breaks a rule; its type and limits are checked already."""
    for field, rule in _RULES:
        try:
            if (value := getattr(product, field)) is not None:
                rule(value)
        except ValueError as error:
            raise ValueError(f"{field}: {error}") from None


def checked(product: ExternalProduct) -> ExternalProduct:
    """`product`, made by code of others, with all of its types, limits and rules checked; raises ValueError."""
    try:
        product = msgspec.convert(msgspec.structs.asdict(product), ExternalProduct)
    except msgspec.ValidationError as error:
        rule, _, path = str(error).partition(" - at `$.")
        raise ValueError(f"{path.rstrip('`')}: {rule}" if path else rule) from None
    check(product)
    return product
