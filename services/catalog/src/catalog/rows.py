"""Products as they are answered, between PostgreSQL and JSON."""

from typing import Any

import msgspec
from psycopg.adapt import Loader

from imports.product import FIELDS

__all__ = ["JSON_LOADERS", "Page", "ProductRow"]

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


class _JSONText(Loader):
    """JSON documents go from PostgreSQL's text to the answer as they are, unparsed and exact."""

    def load(self, data: Any) -> msgspec.Raw:
        return msgspec.Raw(bytes(data))


JSON_LOADERS = {"varchar": _JSONText}
"""How `Database.fetch` reads a varchar, as which JSON is selected; for others psycopg's own, in C, are faster."""
