"""What clients send and get. The fields of a product, with their limits and rules, are those of `imports.product`."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import pydantic
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Strict, StringConstraints, WithJsonSchema
from pydantic.config import JsonDict

from catalog.rows import ProductRow
from imports import rules
from imports.product import FIELDS, Field

__all__ = ["ProductChange", "ProductIn", "ProductOut", "ProductPage"]


def _json_number(value: Any) -> Any:
    if type(value) not in (int, Decimal):
        raise ValueError("must be a JSON number")
    return value


# Without `multipleOf: 0.01`, which validators compute in binary and then refuse 19.99.
_DECIMAL: JsonDict = {"type": "number", "format": "decimal", "description": "Exact, at most two decimals."}
Price = Annotated[
    Decimal,
    pydantic.Field(gt=0, le=rules.MAX_PRICE, decimal_places=2),
    BeforeValidator(_json_number),
    WithJsonSchema(_DECIMAL | {"exclusiveMinimum": 0, "maximum": float(rules.MAX_PRICE)}),
]


def _written(field: Field, *, nullable: bool) -> Any:
    """The type of a field that a client writes, for pydantic, with its limits and rules."""
    limits, parts = field.limits, list[Any]()
    if field.type is str:
        # Blanks around a text are cut; a code of three letters has none.
        strip = rules.currency not in field.rules
        low, high = limits.min_length, limits.max_length
        parts.append(StringConstraints(strip_whitespace=strip, min_length=low, max_length=high))
    if field.type is int:
        parts += [Strict(), pydantic.Field(ge=limits.ge, le=limits.le)]
    parts += [AfterValidator(rule) for rule in field.rules]
    parts.append(pydantic.Field(description=limits.description, json_schema_extra=limits.extra_json_schema))
    kind: Any = Price if field.type is Decimal else Annotated[(field.type, *parts)]
    return kind | None if nullable else kind


def _answered(field: Field) -> Any:
    """Its type in an answer, where values of older releases need not keep the rules."""
    kind = Annotated[Decimal, WithJsonSchema(_DECIMAL)] if field.type is Decimal else field.type
    return kind | None if field.nullable else kind


def _model(**fields: Any) -> Any:
    """A model to derive from, of fields with a type and a default."""
    return pydantic.create_model("Fields", **fields)


_New: Any = _model(
    **{
        name: (_written(field, nullable=field.nullable), ... if field.required else field.default)
        for name, field in FIELDS.items()
    }
)
_Changed: Any = _model(**{name: (_written(field, nullable=field.clearable), None) for name, field in FIELDS.items()})
_Answered: Any = _model(id=(int, ...), **{name: (_answered(field), ...) for name, field in FIELDS.items()})


class ProductIn(_New):  # type: ignore[misc]  # a computed base
    """A new product."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"name": "Laptop", "description": "14 inches", "price": 999.99, "category": "electronics"}
        },
    )


class ProductChange(_Changed):  # type: ignore[misc]  # a computed base
    """The fields that are to change: any of them, at least one.

    A field that is left out keeps its value; `null` clears an optional one. The other fields of a product (`id`,
    `version`, `source`, times, `pinned`) may be sent back unchanged, so that a product can be read, edited and sent; a
    changed value is refused.
    """

    model_config = ConfigDict(
        extra="forbid",
        # `id` keeps any other product from being changed.
        json_schema_extra={"example": {"id": 1001, "name": "Laptop", "price": 899.99}},
    )


class ProductOut(_Answered):  # type: ignore[misc]  # a computed base
    """A product. `pinned` names the fields that an admin changed, which sync does not."""

    source: str | None = pydantic.Field(
        description="The external API it comes from; null for one that was created here."
    )
    external_id: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    synced_at: datetime | None = pydantic.Field(description="When a sync last changed it.")
    pinned: list[str]


assert tuple(ProductOut.model_fields) == ProductRow.__struct_fields__, "what is documented is not what is answered"


class ProductPage(BaseModel):
    """A page of products in the order of their ids; `next` is the path of the next page, null on the last."""

    items: list[ProductOut]
    total: int
    skip: int
    limit: int
    next: str | None
