"""The fields of a product: one definition, with limits and rules, for clients of the API, for sources and for imports.

A field is a type, its limits (`msgspec.Meta`), and a rule of `imports.rules` where these do not say enough.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from types import NoneType
from typing import Annotated, Any, get_args, get_type_hints

import msgspec
from msgspec import NODEFAULT, Meta
from msgspec.structs import FieldInfo

from imports import rules

__all__ = ["EXTERNAL_ID", "FIELDS", "ExternalProduct", "Field", "ProductFields", "check", "checked"]


class ProductFields(msgspec.Struct, frozen=True, kw_only=True):
    """What a product says. A field with a default that is empty or null is optional."""

    name: Annotated[str, Meta(min_length=1, max_length=300), rules.visible]
    description: Annotated[str, Meta(max_length=20_000), rules.storable] = ""
    price: Annotated[Decimal, rules.price]
    currency: Annotated[
        str, Meta(max_length=3, description="ISO 4217", extra_json_schema={"pattern": "^[A-Z]{3}$"}), rules.currency
    ] = "USD"
    category: Annotated[str, Meta(min_length=1, max_length=100), rules.visible]
    brand: Annotated[str, Meta(min_length=1, max_length=200), rules.visible] | None = None
    sku: Annotated[str, Meta(min_length=1, max_length=100), rules.visible] | None = None
    stock: Annotated[int, Meta(ge=0, le=rules.MAX_STOCK)] | None = None
    image_url: (
        Annotated[str, Meta(min_length=1, max_length=2000, extra_json_schema={"format": "uri"}), rules.image_url] | None
    ) = None
    attributes: Annotated[dict[str, Any], rules.attributes] = msgspec.field(default_factory=dict)


class ExternalProduct(ProductFields, frozen=True, kw_only=True):
    """One product as its source describes it. Fractions in `attributes` are `Decimal`."""

    external_id: Annotated[str, Meta(min_length=1, max_length=200), rules.visible]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an ExternalProduct, taken apart. `type` is without limits and None."""

    name: str
    type: Any
    nullable: bool
    limits: Meta
    rules: tuple[Callable[[Any], Any], ...]
    required: bool
    default: Any

    @property
    def clearable(self) -> bool:
        """Whether the field may be empty, which is its default then."""
        return not self.required and not self.default

    @property
    def max_length(self) -> int:
        assert self.limits.max_length is not None, f"{self.name} is not a text"
        return self.limits.max_length


def _field(info: FieldInfo, hint: Any) -> Field:
    nullable = NoneType in get_args(hint)
    annotated = get_args(hint)[0] if nullable else hint
    kind, *metadata = get_args(annotated)
    default = None if info.default is NODEFAULT else info.default
    if info.default_factory is not NODEFAULT:
        default = info.default_factory()
    limits = next((it for it in metadata if isinstance(it, Meta)), Meta())
    return Field(
        info.name, kind, nullable, limits, tuple(it for it in metadata if callable(it)), info.required, default
    )


_HINTS = get_type_hints(ExternalProduct, include_extras=True)
_ALL = {info.name: _field(info, _HINTS[info.name]) for info in msgspec.structs.fields(ExternalProduct)}
FIELDS = {name: _ALL[name] for name in ProductFields.__struct_fields__}
"""What clients and sources write of a product, by name."""
EXTERNAL_ID = _ALL["external_id"]


def check(product: ExternalProduct) -> None:
    """Raises ValueError, `field: rule`, for a value that breaks a rule; its type and limits are checked already."""
    for field in _ALL.values():
        value = getattr(product, field.name)
        for rule in field.rules if value is not None else ():
            try:
                rule(value)
            except ValueError as error:
                raise ValueError(f"{field.name}: {error}") from None


def checked(product: ExternalProduct) -> ExternalProduct:
    """`product`, made by code of others, with all of its types, limits and rules checked; raises ValueError."""
    try:
        product = msgspec.convert(msgspec.structs.asdict(product), ExternalProduct)
    except msgspec.ValidationError as error:
        rule, _, path = str(error).partition(" - at `$.")
        raise ValueError(f"{path.rstrip('`')}: {rule}" if path else rule) from None
    check(product)
    return product
