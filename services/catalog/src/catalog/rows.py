"""Products as they are answered, between PostgreSQL and JSON."""

from typing import Any

import msgspec
from psycopg.adapt import Loader
from sqlalchemy import VARCHAR, ColumnElement, Dialect, TypeDecorator, cast

from catalog.models import Product
from imports.product import FIELDS

__all__ = ["COLUMNS", "JSON_LOADERS", "Page", "ProductRow"]

_NAMES = ("id", *FIELDS, "source", "external_id", "version", "created_at", "updated_at", "synced_at", "pinned")


_Columns = msgspec.defstruct("_Columns", [(name, Any) for name in _NAMES], gc=False)


class ProductRow(_Columns, gc=False):  # type: ignore[misc, valid-type, call-arg]  # computed; rows are in no cycle
    """One product; `schemas.ProductOut` describes it. Only these members are read by code, the others are passed on."""

    id: int
    version: int
    source: str | None
    pinned: list[str]


class Page(msgspec.Struct, gc=False):
    """A page of products, as `schemas.ProductPage`."""

    items: list[ProductRow]
    total: int
    skip: int
    limit: int
    next: str | None


class _RawJSON(TypeDecorator[msgspec.Raw]):
    """JSON as PostgreSQL writes it: exact, and not parsed on its way to the answer.

    It is a varchar, so that it has a psycopg loader of its own in `fetch`.
    """

    impl = VARCHAR
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> msgspec.Raw | None:
        return None if value is None else msgspec.Raw(value.encode())


def _column(name: str) -> ColumnElement[Any]:
    column: ColumnElement[Any] = Product.__table__.c[name]
    return cast(column, _RawJSON).label(name) if name == "attributes" else column


COLUMNS = [_column(name) for name in ProductRow.__struct_fields__]
"""What is selected of `catalog.products` for a ProductRow."""


class _JSONText(Loader):
    """JSON documents go from PostgreSQL's text to the answer as they are, unparsed and exact."""

    def load(self, data: Any) -> msgspec.Raw:
        return msgspec.Raw(bytes(data))


JSON_LOADERS = {"varchar": _JSONText}
"""How `Database.fetch` reads the type of `_RawJSON`; psycopg's own loaders, which are in C, are faster for others."""
