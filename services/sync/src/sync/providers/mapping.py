"""What of a record becomes which field of a product, by rules that are options of a source."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from imports.product import ExternalProduct
from sync.providers.base import ProviderMisconfigured
from sync.providers.expressions import compiled
from sync.providers.records import (
    InvalidRecord,
    Mapped,
    Optionals,
    parse_currency,
    parse_id,
    parse_price,
    parse_text,
    read_record,
)

__all__ = ["MappingOptions", "Path", "Rule", "mapper", "reader"]

MAX_ATTRIBUTES = 100

Path = Annotated[str, Meta(min_length=1, max_length=500, description="A JMESPath expression over the record.")]
Cast = Literal["string", "number", "integer", "cents"]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a value is from: exactly one of `path`, `const` and `join`; then the default, then the cast."""

    path: Path | None = None
    const: Any | UnsetType = UNSET
    join: Annotated[list[Path], Meta(min_length=1, max_length=20)] | None = None
    """Several values as one text; those that are absent are left out."""
    separator: Annotated[str, Meta(max_length=20)] = " "
    default: Any | UnsetType = UNSET
    """Instead of a value that is absent or null."""
    cast: Cast | None = None


AnyRule = Path | Rule


class MappingOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fields of a product. A rule that is a text is the path of a `Rule`."""

    external_id: AnyRule
    name: AnyRule
    price: AnyRule
    category: AnyRule
    description: AnyRule | None = None
    currency: AnyRule | None = None
    brand: AnyRule | None = None
    sku: AnyRule | None = None
    stock: AnyRule | None = None
    image_url: AnyRule | None = None
    attributes: Annotated[dict[str, AnyRule], Meta(max_length=MAX_ATTRIBUTES)] = {}


def mapper(options: MappingOptions, base: str) -> Callable[[object], Mapped]:
    """Makes products of records; `base` is what relative addresses of images are relative to."""
    product = _Product(options, base)
    return lambda record: read_record(record, product, product.identify)


def reader(rule: str | Rule, option: str) -> "_Reader":
    """Reads what this rule says of a record."""
    return _Reader(rule, option)


class _Product:
    def __init__(self, options: MappingOptions, base: str) -> None:
        self._base = base
        names = [name for name in options.__struct_fields__ if name != "attributes"]
        found = {name: getattr(options, name) for name in names}
        self._fields = {name: _Reader(rule, f"mapping.{name}") for name, rule in found.items() if rule is not None}
        self._attributes = {
            name: _Reader(rule, f"mapping.attributes.{name}") for name, rule in options.attributes.items()
        }

    def identify(self, record: Mapping[str, Any]) -> object:
        return self._read("external_id", record)

    def __call__(self, record: Mapping[str, Any], optional: Optionals) -> ExternalProduct:
        fields: dict[str, Any] = {}
        if "currency" in self._fields:
            # Not an optional field, though it has a default: a price in another currency is another price.
            fields["currency"] = parse_currency(self._read("currency", record))
        return ExternalProduct(
            external_id=parse_id(self._read("external_id", record)),
            name=parse_text(self._read("name", record), "name"),
            price=parse_price(self._read("price", record)),
            category=parse_text(self._read("category", record), "category"),
            description=optional.text(self._optional("description", record, optional), "description") or "",
            brand=optional.text(self._optional("brand", record, optional), "brand"),
            sku=optional.text(self._optional("sku", record, optional), "sku"),
            stock=optional.stock(self._optional("stock", record, optional)),
            image_url=optional.url(self._optional("image_url", record, optional), self._base),
            attributes=self._read_attributes(record, optional),
            **fields,
        )

    def _read(self, field: str, record: Mapping[str, Any]) -> Any:
        return self._fields[field].read(record, field)

    def _optional(self, field: str, record: Mapping[str, Any], optional: Optionals) -> Any:
        if field not in self._fields:
            return None
        return optional.value(lambda: self._read(field, record), field)

    def _read_attributes(self, record: Mapping[str, Any], optional: Optionals) -> dict[str, Any]:
        found = {
            name: optional.value(lambda reader=reader: reader.read(record, "attributes"), "attributes")  # type: ignore[misc]
            for name, reader in self._attributes.items()
        }
        return optional.attributes({name: value for name, value in found.items() if value is not None})


class _Reader:
    """One rule, compiled."""

    def __init__(self, rule: str | Rule, option: str) -> None:
        self._rule = rule if isinstance(rule, Rule) else Rule(path=rule)
        given = (self._rule.path is not None, self._rule.const is not UNSET, self._rule.join is not None)
        if sum(given) != 1:
            raise ProviderMisconfigured(f"options.{option}: must have exactly one of `path`, `const` and `join`.")
        at = option if isinstance(rule, str) else f"{option}.path"
        self._path = compiled(self._rule.path, at) if self._rule.path is not None else None
        self._join = [compiled(path, f"{option}.join") for path in self._rule.join or ()]

    def read(self, record: Mapping[str, Any], field: str) -> Any:
        """The value of this record; raises `InvalidRecord` if it cannot be cast."""
        rule = self._rule
        if self._join:
            parts = [_as_text(path(record), field) for path in self._join]
            value: Any = rule.separator.join(part for part in parts if part) or None
        else:
            value = self._path(record) if self._path is not None else rule.const
        if value is None and rule.default is not UNSET:
            value = rule.default
        value = _exact(value)
        return value if value is None or rule.cast is None else CASTS[rule.cast](value, field)


def _exact(value: Any) -> Any:
    """A float of an option as what was written."""
    return Decimal(repr(value)) if isinstance(value, float) else value


def _as_text(value: Any, field: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise InvalidRecord(field, "must be a text or a number to be a text")
    number = Decimal(value) if isinstance(value, int) else Decimal(repr(value)) if isinstance(value, float) else value
    if not number.is_finite() or abs(number.adjusted()) > 60 or len(number.as_tuple().digits) > 60:
        raise InvalidRecord(field, "must be a number of at most 60 digits to be a text")
    return f"{number:f}"


def _as_number(value: Any, field: str) -> Decimal:
    if isinstance(value, str) and len(value) <= 60:
        try:
            value = Decimal(value.strip())
        except ArithmeticError:
            raise InvalidRecord(field, "must be a number such as 12.50") from None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise InvalidRecord(field, "must be a number such as 12.50")
    number = Decimal(value)
    if not number.is_finite() or abs(number.adjusted()) > 60:
        raise InvalidRecord(field, "must be a number of at most 60 digits")
    return number


def _as_integer(value: Any, field: str) -> int:
    number = _as_number(value, field)
    if number != number.to_integral_value():
        raise InvalidRecord(field, "must be a whole number")
    return int(number)


def _as_cents(value: Any, field: str) -> Decimal:
    return Decimal(_as_integer(value, field)).scaleb(-2)


CASTS: dict[str, Callable[[Any, str], Any]] = {
    "string": _as_text,
    "number": _as_number,
    "integer": _as_integer,
    "cents": _as_cents,
}
