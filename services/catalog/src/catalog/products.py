"""Every query on products, one function each."""

from typing import Any

import msgspec
from psycopg.adapt import Loader
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from catalog.errors import ProductNotFound, VersionConflict
from catalog.paging import Paging
from catalog.schemas import Page, Product, ProductIn
from common.db import Database
from common.json import dumps

__all__ = ["FIELDS", "check_version", "create", "delete", "etag", "get", "get_for_update", "matches", "page", "replace"]

FIELDS = (
    "name", "description", "price", "currency", "category", "brand", "sku", "stock", "image_url", "attributes",
)  # fmt: skip
"""What a product says; the rest is kept by us."""

COLUMNS = ", ".join(
    ("id", *FIELDS, "source", "external_id", "version", "created_at", "updated_at", "synced_at", "pinned")
)
_GET = f"SELECT {COLUMNS} FROM catalog.products WHERE id = %s AND deleted_at IS NULL"  # noqa: S608
# One statement gives page and total, also for an empty page.
_PAGE = f"""
    SELECT counted.total, page.*
    FROM (SELECT coalesce(sum(delta), 0)::bigint AS total FROM catalog.product_counts) AS counted
    LEFT JOIN LATERAL (
        SELECT {COLUMNS} FROM catalog.products WHERE deleted_at IS NULL AND id > %s ORDER BY id LIMIT %s OFFSET %s
    ) AS page ON true
    ORDER BY page.id
"""  # noqa: S608


class _JSONText(Loader):
    """Numbers and JSON documents go from PostgreSQL's text to the answer as they are, unparsed and exact."""

    def load(self, data: Any) -> msgspec.Raw:
        return msgspec.Raw(bytes(data))


class _JSONTime(Loader):
    """PostgreSQL's `2026-01-31 12:00:00.5+00` (the session is in UTC) to RFC 3339, as Python writes it elsewhere."""

    def load(self, data: Any) -> msgspec.Raw:
        value = bytes(data)
        clock = value[11:-3]
        # PostgreSQL leaves out zeros at the end of a fraction.
        return msgspec.Raw(b'"%bT%bZ"' % (value[:10], clock.ljust(15, b"0") if len(clock) > 8 else clock))


JSON_LOADERS = {"numeric": _JSONText, "jsonb": _JSONText, "timestamptz": _JSONTime}


def etag(product: Product) -> str:
    """Strong: the version grows with every committed change."""
    return f'"{product.id}-{product.version}"'


def matches(tag: str, condition: str) -> bool:
    """Whether an If-Match or If-None-Match header names `tag`; gateways that compress make tags weak."""
    return condition.strip() == "*" or tag in (sent.strip().removeprefix("W/") for sent in condition.split(","))


async def get(db: Database, product_id: int) -> Product:
    rows = await db.fetch(_GET, (product_id,))
    if not rows:
        raise ProductNotFound(product_id)
    return Product(*rows[0])


async def page(db: Database, paging: Paging) -> Page:
    """The products that `paging` asks for, by id, how many there are in all, and where the next page is."""
    # One row more than asked for tells whether a next page exists.
    rows = await db.fetch(_PAGE, (paging.after, paging.limit + 1, paging.skip))
    items = [Product(*row[1:]) for row in rows if row[1] is not None]
    following = paging.following(items[paging.limit - 1].id) if len(items) > paging.limit else None
    return Page(items[: paging.limit], rows[0][0], paging.skip, paging.limit, following)


async def create(session: AsyncSession, product: ProductIn) -> Product:
    values = ", ".join(f"CAST(:{field} AS jsonb)" if field == "attributes" else f":{field}" for field in FIELDS)
    statement = f"INSERT INTO catalog.products ({', '.join(FIELDS)}) VALUES ({values}) RETURNING {COLUMNS}"  # noqa: S608
    row = (await session.execute(text(statement), _parameters(product))).one()
    return Product(*row)


async def get_for_update(session: AsyncSession, product_id: int) -> Product:
    """One product, locked until the request commits."""
    statement = f"SELECT {COLUMNS} FROM catalog.products WHERE id = :id AND deleted_at IS NULL FOR UPDATE"  # noqa: S608
    row = (await session.execute(text(statement), {"id": product_id})).one_or_none()
    if row is None:
        raise ProductNotFound(product_id)
    return Product(*row)


def check_version(product: Product, if_match: str | None) -> None:
    """Honour If-Match (RFC 9110 13.1.1): raises VersionConflict unless it names this version."""
    if if_match is not None and not matches(etag(product), if_match):
        raise VersionConflict(etag(product))


async def replace(session: AsyncSession, product: Product, change: ProductIn) -> Product:
    """Write `change` over a locked product. On one that is synced, the fields that differ are pinned."""
    changed = [field for field in FIELDS if getattr(product, field) != getattr(change, field)]
    if not changed:
        return product
    pinned = sorted({*product.pinned, *changed}) if product.source is not None else product.pinned
    settings = ", ".join(
        f"{field} = " + (f"CAST(:{field} AS jsonb)" if field == "attributes" else f":{field}") for field in FIELDS
    )
    statement = (
        f"UPDATE catalog.products SET {settings}, pinned = :pinned, version = version + 1, updated_at = now() "  # noqa: S608
        f"WHERE id = :id RETURNING {COLUMNS}"
    )
    parameters = _parameters(change) | {"id": product.id, "pinned": pinned}
    return Product(*(await session.execute(text(statement), parameters)).one())


async def delete(session: AsyncSession, product: Product) -> None:
    """Leave a tombstone: the id is never used again, and sync does not bring the product back."""
    statement = (
        "UPDATE catalog.products SET deleted_at = now(), updated_at = now(), version = version + 1 WHERE id = :id"
    )
    await session.execute(text(statement), {"id": product.id})


def _parameters(product: ProductIn) -> dict[str, Any]:
    values = {field: getattr(product, field) for field in FIELDS}
    return values | {"attributes": dumps(product.attributes).decode()}
