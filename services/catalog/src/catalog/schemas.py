"""What clients send and get."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StringConstraints

from common.json import dumps

__all__ = ["ImportPage", "ImportState", "Product", "ProductIn", "ProductOut", "ProductPage"]

MAX_PRICE = Decimal("9999999999.99")
CENT = Decimal("0.01")
MAX_ATTRIBUTES_BYTES = 32 * 1024
MAX_ATTRIBUTES_DEPTH = 8


def _json_number(value: Any) -> Any:
    if type(value) not in (int, Decimal):
        raise ValueError("must be a JSON number")
    return value


def _http_url(value: str) -> str:
    if not re.match(r"https?://[^\s/]", value):
        raise ValueError("must be an http:// or https:// URL")
    return value


def _bounded(value: dict[str, Any]) -> dict[str, Any]:
    if len(dumps(value)) > MAX_ATTRIBUTES_BYTES or _depth(value) > MAX_ATTRIBUTES_DEPTH:
        raise ValueError(f"must be at most {MAX_ATTRIBUTES_BYTES} bytes of JSON and {MAX_ATTRIBUTES_DEPTH} levels deep")
    return value


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


Price = Annotated[
    Decimal,
    BeforeValidator(_json_number, json_schema_input_type=float),
    Field(gt=0, le=MAX_PRICE, max_digits=12, decimal_places=2, json_schema_extra={"multipleOf": 0.01}),
]
Attributes = Annotated[dict[str, Any], AfterValidator(_bounded)]


def _text(low: int, high: int) -> Any:
    return StringConstraints(strip_whitespace=True, min_length=low, max_length=high)


class ProductIn(BaseModel):
    """A whole product, as an admin writes it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"name": "Laptop", "description": "14 inches", "price": 999.99, "category": "electronics"}
        },
    )

    name: Annotated[str, _text(1, 300)]
    description: Annotated[str, _text(0, 20_000)] = ""
    price: Price
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = Field("USD", description="ISO 4217")
    category: Annotated[str, _text(1, 100)]
    brand: Annotated[str, _text(1, 200)] | None = None
    sku: Annotated[str, _text(1, 100)] | None = None
    stock: Annotated[StrictInt, Field(ge=0, le=2**31 - 1)] | None = None
    image_url: Annotated[str, _text(1, 2000), AfterValidator(_http_url)] | None = None
    attributes: Attributes = {}


class ProductOut(BaseModel):
    """A product. `pinned` names the fields that sync leaves alone, since an admin changed them."""

    id: int
    name: str
    description: str
    price: float = Field(description="Exact, at most two decimals.", json_schema_extra={"multipleOf": 0.01})
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


class Product(msgspec.Struct):
    """ProductOut on its way to JSON: fields in the order of `products.COLUMNS`."""

    id: int
    name: str
    description: str
    price: Any
    currency: str
    category: str
    brand: str | None
    sku: str | None
    stock: int | None
    image_url: str | None
    attributes: Any
    source: str | None
    external_id: str | None
    version: int
    created_at: Any
    updated_at: Any
    synced_at: Any
    pinned: list[str]


class Page(msgspec.Struct):
    items: list[Product]
    total: int
    skip: int
    limit: int
    next: str | None


class ImportItem(msgspec.Struct, forbid_unknown_fields=True):
    """A record from a provider; sync has validated it, and what the table cannot hold is refused again."""

    external_id: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    price: Decimal
    category: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    description: Annotated[str, msgspec.Meta(max_length=20_000)] = ""
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$")] = "USD"
    brand: str | None = None
    sku: str | None = None
    stock: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] | None = None
    image_url: str | None = None
    attributes: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if not self.price.is_finite() or not 0 <= self.price <= MAX_PRICE or self.price.quantize(CENT) != self.price:
            raise ValueError(f"price must be 0 to {MAX_PRICE} with at most 2 decimals")


class ImportReject(msgspec.Struct, forbid_unknown_fields=True):
    external_id: str | None
    reason: str
    payload: str


class ImportPage(msgspec.Struct, forbid_unknown_fields=True):
    """A page that `after` led to; `cursor` leads to the next one and is null on the last page."""

    fence: int
    after: str | None
    cursor: str | None
    items: Annotated[list[ImportItem], msgspec.Meta(max_length=500)]
    rejects: Annotated[list[ImportReject], msgspec.Meta(max_length=500)] = []


class ImportFence(BaseModel):
    """`fence` grows with every worker that takes the run over; a lower one is refused."""

    model_config = ConfigDict(extra="forbid")

    fence: Annotated[StrictInt, Field(ge=1)]


class ImportState(BaseModel):
    """Where to go on: after `cursor`, or to the merge if `complete`."""

    cursor: str | None
    staged: int
    rejected: int
    complete: bool


class ImportResult(BaseModel):
    """What the merge did."""

    fetched: int
    created: int
    updated: int
    unchanged: int
    rejected: int
