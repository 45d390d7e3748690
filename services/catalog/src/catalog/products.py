"""Every query on products, one function each."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from psycopg.adapt import Loader
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from catalog.changes import FIELDS
from catalog.errors import ProductNotFound
from catalog.paging import Paging
from catalog.schemas import Page, Product, ProductIn
from common.deadlines import paused_deadline
from common.json_encoding import dumps
from common.web.database import Database
from common.web.errors import Unavailable

__all__ = ["create", "delete", "etag", "get", "get_for_update", "page", "purge", "restore", "unpin", "update"]

# A page ends before its texts exceed this, and `next` goes on behind it.
MAX_PAGE_BYTES = 4 * 1024 * 1024
# A page so deep is costly, and few of them are read at a time; others wait for so long.
DEEP_SKIP, DEEP_WAIT_SECONDS = 10_000, 2.0
# So long a deleted product without a source can be restored.
RESTORE_DAYS, PURGED_AT_ONCE = 30, 1000
MAX_ID = 2**63 - 1

COLUMNS = ", ".join(
    ("id", *FIELDS, "source", "external_id", "version", "created_at", "updated_at", "synced_at", "pinned")
)
# As text, which is exact: psycopg would make binary floats of its numbers. As varchar, to have a loader of its own.
_SELECTED = COLUMNS.replace("attributes", "CAST(attributes AS varchar) AS attributes")
_GET = f"SELECT {_SELECTED} FROM catalog.products WHERE id = %s AND deleted_at IS NULL"  # noqa: S608
# The first id of a page, from the index alone.
_START = """
    SELECT id FROM catalog.products WHERE deleted_at IS NULL AND id > %s ORDER BY id LIMIT 1 OFFSET %s
"""
# One statement gives page and total, also for an empty page.
_PAGE = f"""
    SELECT counted.total, page.*
    FROM (SELECT coalesce(sum(delta), 0)::bigint AS total FROM catalog.product_counts) AS counted
    LEFT JOIN LATERAL (
        SELECT * FROM (
            SELECT {COLUMNS}, count(*) OVER () AS found,
                sum(octet_length(attributes) + octet_length(description)) OVER (ORDER BY id) AS bytes
            FROM (
                SELECT {_SELECTED} FROM catalog.products
                WHERE deleted_at IS NULL AND id > %s ORDER BY id LIMIT %s OFFSET %s
            ) AS read
        ) AS measured
        WHERE bytes - octet_length(attributes) - octet_length(description) < {MAX_PAGE_BYTES}
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


JSON_LOADERS = {"numeric": _JSONText, "varchar": _JSONText, "timestamptz": _JSONTime}


def etag(product: Product) -> str:
    """Strong: the version grows with every committed change."""
    return f'"{product.id}-{product.version}"'


async def get(db: Database, product_id: int) -> Product:
    rows = await db.fetch(_GET, (product_id,))
    if not rows:
        raise ProductNotFound(product_id)
    return Product(*rows[0])


async def page(db: Database, paging: Paging) -> Page:
    """The products that `paging` asks for, by id, how many there are in all, and where the next page is.

    There are fewer than it asks for where they would be too large together.
    """
    if paging.skip <= DEEP_SKIP:
        return await _read_page(db, paging, paging.after, paging.skip)
    async with _deep_page(db):
        start = await db.fetch(_START, (paging.after, paging.skip))
        return await _read_page(db, paging, start[0][0] - 1 if start else MAX_ID, 0)


async def _read_page(db: Database, paging: Paging, after: int, skip: int) -> Page:
    # One row more than asked for tells whether a next page exists.
    rows = await db.fetch(_PAGE, (after, paging.limit + 1, skip))
    items = [Product(*row[1:-2]) for row in rows[: paging.limit] if row[1] is not None]
    more = bool(items) and rows[0][-2] > len(items)
    following = paging.following(items[-1].id, len(items)) if more else None
    return Page(items, rows[0][0], paging.skip, paging.limit, following)


@asynccontextmanager
async def _deep_page(db: Database) -> AsyncIterator[None]:
    """A turn at reading a deep page, followed by as long a pause: other clients keep most of PostgreSQL."""
    loop = asyncio.get_running_loop()
    try:
        # Waiting for other clients is not waiting for PostgreSQL.
        with paused_deadline():
            async with asyncio.timeout(DEEP_WAIT_SECONDS):
                await db.slow_reads.acquire()
    except TimeoutError:
        raise Unavailable("Too many deep pages are read at the same time; `cursor` has no such limit.") from None
    began = loop.time()
    try:
        yield
    finally:
        loop.call_later(loop.time() - began, db.slow_reads.release)


async def create(session: AsyncSession, product: ProductIn) -> Product:
    values = {field: getattr(product, field) for field in FIELDS}
    statement = (
        f"INSERT INTO catalog.products ({', '.join(values)}) VALUES ({', '.join(map(_bound, values))}) "  # noqa: S608
        f"RETURNING {_SELECTED}"
    )
    return _product((await session.execute(text(statement), _encoded(values))).one())


async def get_for_update(session: AsyncSession, product_id: int, *, deleted: bool = False) -> Product:
    """One product, locked until the request commits; a deleted one too if that is asked for."""
    where = "id = :id" if deleted else "id = :id AND deleted_at IS NULL"
    statement = f"SELECT {_SELECTED} FROM catalog.products WHERE {where} FOR UPDATE"  # noqa: S608
    row = (await session.execute(text(statement), {"id": product_id})).one_or_none()
    if row is None:
        raise ProductNotFound(product_id)
    return _product(row)


async def update(session: AsyncSession, product: Product, values: dict[str, Any]) -> Product:
    """Write new `values` of some fields of a locked product, which pins them if it is synced."""
    pinned = sorted({*product.pinned, *values}) if product.source is not None else product.pinned
    return await _write(session, product, values | {"pinned": pinned}) if values else product


async def unpin(session: AsyncSession, product: Product, field: str) -> None:
    """Let sync write a field of a locked product again."""
    if field in product.pinned:
        await _write(session, product, {"pinned": [name for name in product.pinned if name != field]})


async def delete(session: AsyncSession, product: Product) -> None:
    """Leave a tombstone: the id is never used again, and sync does not bring the product back."""
    await _write(session, product, {}, "deleted_at = now()")


async def restore(session: AsyncSession, product: Product) -> Product:
    """Bring a locked product back if it is deleted."""
    statement = text("SELECT deleted_at IS NULL FROM catalog.products WHERE id = :id")
    live = await session.scalar(statement, {"id": product.id})
    return product if live else await _write(session, product, {}, "deleted_at = NULL")


async def purge(db: Database) -> int:
    """Forget products without a source that were deleted long ago; how many. Those of a source keep sync out."""
    statement = """
        DELETE FROM catalog.products WHERE id IN (
            SELECT id FROM catalog.products
            WHERE deleted_at < now() - make_interval(days => :days) AND source IS NULL
            ORDER BY deleted_at LIMIT :most FOR UPDATE SKIP LOCKED
        ) RETURNING id
    """
    purged = 0
    while True:
        async with db.transaction() as session:
            found = await session.scalars(text(statement), {"days": RESTORE_DAYS, "most": PURGED_AT_ONCE})
            count = len(found.all())
        purged += count
        if count < PURGED_AT_ONCE:
            return purged


async def _write(session: AsyncSession, product: Product, values: dict[str, Any], *more: str) -> Product:
    written = ", ".join([*(f"{name} = {_bound(name)}" for name in values), *more])
    statement = (
        f"UPDATE catalog.products SET {written}, version = version + 1, updated_at = now() "  # noqa: S608
        f"WHERE id = :id RETURNING {_SELECTED}"
    )
    return _product((await session.execute(text(statement), _encoded(values) | {"id": product.id})).one())


def _bound(column: str) -> str:
    return "CAST(:attributes AS jsonb)" if column == "attributes" else f":{column}"


def _encoded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: dumps(value).decode() if name == "attributes" else value for name, value in values.items()}


def _product(row: Row[Any]) -> Product:
    product = Product(*row)
    product.attributes = msgspec.Raw(product.attributes.encode())
    return product
