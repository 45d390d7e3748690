"""What clients send and get."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.config import JsonDict

from imports import rules

__all__ = ["ProductChange", "ProductIn", "ProductOut", "ProductPage"]

CENT = Decimal("0.01")


def _json_number(value: Any) -> Any:
    if type(value) not in (int, Decimal):
        raise ValueError("must be a JSON number")
    return value


def _text(low: int, high: int) -> Any:
    return StringConstraints(strip_whitespace=True, min_length=low, max_length=high)


VISIBLE = AfterValidator(rules.visible)
Name = Annotated[str, _text(1, 300), VISIBLE]
Category = Annotated[str, _text(1, 100), VISIBLE]
Brand = Annotated[str, _text(1, 200), VISIBLE]
Sku = Annotated[str, _text(1, 100), VISIBLE]
Description = Annotated[str, _text(0, 20_000)]
# Without `multipleOf: 0.01`, which validators compute in binary and then refuse 19.99.
_DECIMAL: JsonDict = {"type": "number", "format": "decimal", "description": "Exact, at most two decimals."}
Price = Annotated[
    Decimal,
    Field(gt=0, le=rules.MAX_PRICE, decimal_places=2),
    BeforeValidator(_json_number),
    WithJsonSchema(_DECIMAL | {"exclusiveMinimum": 0, "maximum": float(rules.MAX_PRICE)}),
]
Currency = Annotated[
    str,
    StringConstraints(max_length=3),
    AfterValidator(rules.currency),
    Field(description="ISO 4217", json_schema_extra={"pattern": "^[A-Z]{3}$"}),
]
Stock = Annotated[StrictInt, Field(ge=0, le=2**31 - 1)]
ImageUrl = Annotated[str, _text(1, 2000), AfterValidator(rules.image_url), Field(json_schema_extra={"format": "uri"})]
Attributes = Annotated[dict[str, Any], AfterValidator(rules.attributes)]


class ProductIn(BaseModel):
    """A new product."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"name": "Laptop", "description": "14 inches", "price": 999.99, "category": "electronics"}
        },
    )

    name: Name
    description: Description = ""
    price: Price
    currency: Currency = "USD"
    category: Category
    brand: Brand | None = None
    sku: Sku | None = None
    stock: Stock | None = None
    image_url: ImageUrl | None = None
    attributes: Attributes = {}


class ProductChange(BaseModel):
    """The fields that are to change: any of them, at least one.

    A field that is left out keeps its value; `null` clears an optional one. What an answer has beside these fields
    (`id`, `version`, `source`, times, `pinned`) may be sent back as it is stored, so that an answer can be edited and
    sent; a value that differs from what is stored is refused.
    """

    model_config = ConfigDict(
        extra="forbid",
        # `id` keeps any other product from being changed.
        json_schema_extra={"example": {"id": 1001, "name": "Laptop", "price": 899.99}},
    )

    name: Name = ""
    description: Description | None = None
    price: Price = CENT
    currency: Currency = ""
    category: Category = ""
    brand: Brand | None = None
    sku: Sku | None = None
    stock: Stock | None = None
    image_url: ImageUrl | None = None
    attributes: Attributes | None = None


class ProductOut(BaseModel):
    """A product. `pinned` names the fields that sync leaves alone, since an admin changed them."""

    id: int
    name: str
    description: str
    price: Annotated[Decimal, WithJsonSchema(_DECIMAL)]
    currency: str
    category: str
    brand: str | None
    sku: str | None
    stock: int | None
    image_url: str | None
    attributes: dict[str, Any]
    source: str | None = Field(description="The external API it comes from; null for one made here.")
    external_id: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    synced_at: datetime | None = Field(description="When a sync last changed it.")
    pinned: list[str]


class ProductPage(BaseModel):
    """A page of products in the order of their ids; `next` is the path of the next page, null on the last."""

    items: list[ProductOut]
    total: int
    skip: int
    limit: int
    next: str | None
