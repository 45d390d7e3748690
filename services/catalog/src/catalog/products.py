"""The queries on products, one function each."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from catalog.errors import ProductNotFound
from catalog.models import Product, ProductCount
from catalog.paging import Paging
from catalog.rows import COLUMNS, Page, ProductRow
from catalog.schemas import ProductIn
from common.deadlines import paused_deadline
from common.web.compiled import CompiledQuery, jsonb
from common.web.database import Database, Transaction
from common.web.errors import Unavailable
from imports.product import FIELDS

__all__ = [
    "DEEP_SKIP", "MAX_ID", "create", "deep_start", "delete", "etag", "get", "get_for_update", "pages", "purge",
    "restore", "unpin", "update",
]  # fmt: skip

# A page ends before its texts exceed this, and `next` continues after it.
MAX_PAGE_BYTES = 4 * 1024 * 1024
# Deeper pages are costly: one is read at a time, and others wait for it no longer than this.
DEEP_SKIP, DEEP_WAIT_SECONDS = 10_000, 2.0
# For how long a deleted product without a source can be restored, and how many rows one transaction deletes.
RESTORE_DAYS, PURGED_AT_ONCE = 30, 1000
MAX_ID = 2**63 - 1

_LIVE = Product.deleted_at.is_(None)
_IS_IT = Product.id == sa.bindparam("product_id")


def _by_ids() -> sa.Select[Any]:
    ids = sa.bindparam("ids", type_=ARRAY(sa.BigInteger))
    return sa.select(*COLUMNS).where(Product.id == sa.any_(ids), _LIVE)


def _first_of_page() -> sa.Select[Any]:
    """The first id of a page, from the index alone."""
    live = sa.select(Product.id).where(_LIVE, Product.id > sa.bindparam("after")).order_by(Product.id)
    return live.limit(1).offset(sa.bindparam("skip", type_=sa.BigInteger))


def _page() -> sa.Select[Any]:
    """One statement for page and total, also of an empty page.

    `found` is how many rows were read: one more than is asked for tells whether there is a next page.
    """
    live = sa.select(*COLUMNS).where(_LIVE, Product.id > sa.bindparam("after")).order_by(Product.id)
    read = (
        live.limit(sa.bindparam("limit", type_=sa.BigInteger))
        .offset(sa.bindparam("skip", type_=sa.BigInteger))
        .subquery("read")
    )
    size = sa.func.octet_length(read.c.attributes) + sa.func.octet_length(read.c.description)
    measured = sa.select(
        *read.c,
        sa.func.count().over().label("found"),
        (sa.func.sum(size).over(order_by=read.c.id) - size).label("bytes_before"),
    ).subquery("measured")
    fitting = (
        sa.select(measured)
        .where(measured.c.bytes_before < sa.bindparam("max_bytes", type_=sa.BigInteger))
        .lateral("page")
    )
    total = sa.func.coalesce(sa.func.sum(ProductCount.delta), sa.literal_column("0")).cast(sa.BigInteger)
    counted = sa.select(total.label("total")).subquery("counted")
    return sa.select(counted.c.total, fitting).select_from(counted.outerjoin(fitting, sa.true())).order_by(fitting.c.id)


def _locked(*conditions: sa.ColumnElement[bool]) -> CompiledQuery:
    return CompiledQuery(sa.select(*COLUMNS).where(_IS_IT, *conditions).with_for_update())


def _changed(*conditions: sa.ColumnElement[bool], **values: Any) -> CompiledQuery:
    """Every change raises the version."""
    changed = values | {"version": Product.version + 1, "updated_at": sa.func.now()}
    return CompiledQuery(sa.update(Product).where(_IS_IT, *conditions).values(changed).returning(*COLUMNS))


@lru_cache(maxsize=256)
def _update_of(*names: str) -> CompiledQuery:
    """The statement that writes these columns."""
    return _changed(**{name: sa.bindparam(name) for name in names})


def _purge() -> sa.Delete:
    old = sa.select(Product.id).where(
        Product.deleted_at < sa.func.now() - timedelta(days=RESTORE_DAYS), Product.source.is_(None)
    )
    some = old.order_by(Product.deleted_at).limit(PURGED_AT_ONCE).with_for_update(skip_locked=True)
    return sa.delete(Product).where(Product.id.in_(some))


_GET, _START, _PAGE = CompiledQuery(_by_ids()), CompiledQuery(_first_of_page()), CompiledQuery(_page())
_product_of_get = _GET.getter(*ProductRow.__struct_fields__)
_product_of_page = _PAGE.getter(*ProductRow.__struct_fields__)
_total_and_found = _PAGE.getter("total", "found")
_CREATE = CompiledQuery(sa.insert(Product).values({name: sa.bindparam(name) for name in FIELDS}).returning(*COLUMNS))
_LOCK, _LOCK_ANY = _locked(_LIVE), _locked()
_DELETE, _RESTORE = _changed(deleted_at=sa.func.now()), _changed(sa.not_(_LIVE), deleted_at=sa.null())
_PURGE = CompiledQuery(_purge())


def etag(product: ProductRow) -> str:
    """Strong: the version grows with every committed change."""
    return f'"{product.id}-{product.version}"'


async def get(db: Database, ids: Sequence[int]) -> list[ProductRow]:
    """Those of the products that exist."""
    # An array as PostgreSQL writes it, since psycopg takes ten times as long to make one of a list.
    array = f"{{{','.join(map(str, ids))}}}"
    return [ProductRow(*_product_of_get(row)) for row in await _GET.fetch(db, ids=array)]


async def pages(db: Database, pagings: Sequence[Paging]) -> list[Page]:
    """For each of `pagings` its products by id, how many there are in all, and where the next page is.

    There are fewer than it asks for where they would be too large together.
    """
    parameters = [
        {"after": paging.after, "limit": paging.limit + 1, "skip": paging.offset, "max_bytes": MAX_PAGE_BYTES}
        for paging in pagings
    ]
    answers = await _PAGE.fetch_each(db, parameters)
    return [_page_of(paging, rows) for paging, rows in zip(pagings, answers, strict=True)]


def _page_of(paging: Paging, rows: list[tuple[Any, ...]]) -> Page:
    total, found = _total_and_found(rows[0])
    # An empty page is one row with the total alone.
    items = [ProductRow(*_product_of_page(row)) for row in rows[: paging.limit]] if found else []
    next_path = paging.next_path(items[-1].id, len(items)) if items and found > len(items) else None
    return Page(items, total, paging.skip, paging.limit, next_path)


@asynccontextmanager
async def deep_start(db: Database, paging: Paging) -> AsyncIterator[Paging]:
    """The same page of a deep `skip`, told by the id before it.

    Deep pages take turns, each followed by a pause of the same length, so that PostgreSQL has time for others.
    """
    loop = asyncio.get_running_loop()
    try:
        # Waiting for other clients does not count as waiting for PostgreSQL.
        with paused_deadline():
            async with asyncio.timeout(DEEP_WAIT_SECONDS):
                await db.slow_reads.acquire()
    except TimeoutError:
        raise Unavailable("Too many deep pages are read at the same time; `cursor` has no such limit.") from None
    began = loop.time()
    try:
        start = await _START.fetch(db, after=paging.after, skip=paging.skip)
        yield paging.starting_after(start[0][0] - 1 if start else MAX_ID)
    finally:
        loop.call_later(loop.time() - began, db.slow_reads.release)


async def create(transaction: Transaction, product: ProductIn) -> ProductRow:
    return await _returned(_CREATE, transaction, _parameters({field: getattr(product, field) for field in FIELDS}))


async def get_for_update(transaction: Transaction, product_id: int, *, deleted: bool = False) -> ProductRow:
    """One product, locked until the request commits; a deleted one too if that is asked for."""
    rows = await (_LOCK_ANY if deleted else _LOCK).fetch(transaction, product_id=product_id)
    if not rows:
        raise ProductNotFound(product_id)
    return ProductRow(*rows[0])


async def update(transaction: Transaction, product: ProductRow, values: dict[str, Any]) -> ProductRow:
    """Write new `values` of some fields of a locked product, which pins them if it is synced."""
    pinned = sorted({*product.pinned, *values}) if product.source is not None else product.pinned
    return await _write(transaction, product, values | {"pinned": pinned}) if values else product


async def unpin(transaction: Transaction, product: ProductRow, field: str) -> None:
    """Let sync write a field of a locked product again."""
    if field in product.pinned:
        await _write(transaction, product, {"pinned": [name for name in product.pinned if name != field]})


async def delete(transaction: Transaction, product: ProductRow) -> None:
    """Leave a tombstone: the id is never used again, and sync does not bring the product back."""
    await _returned(_DELETE, transaction, {"product_id": product.id})


async def restore(transaction: Transaction, product: ProductRow) -> ProductRow:
    """Bring a locked product back if it is deleted."""
    deleted = await _RESTORE.fetch(transaction, product_id=product.id)
    return ProductRow(*deleted[0]) if deleted else product


async def purge(db: Database) -> int:
    """Delete the rows of products without a source that were deleted long ago, and return their number.

    Tombstones of synced products stay. It opens its own short transactions, since no request has one for it.
    """
    purged, count = 0, PURGED_AT_ONCE
    while count == PURGED_AT_ONCE:
        async with db.transaction() as transaction:
            count = await _PURGE.execute(transaction)
        purged += count
    return purged


async def _write(transaction: Transaction, product: ProductRow, values: dict[str, Any]) -> ProductRow:
    parameters = _parameters(values)
    return await _returned(_update_of(*sorted(values)), transaction, parameters | {"product_id": product.id})


def _parameters(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"attributes": jsonb(values["attributes"])} if "attributes" in values else values


async def _returned(query: CompiledQuery, transaction: Transaction, parameters: dict[str, Any]) -> ProductRow:
    (row,) = await query.fetch(transaction, **parameters)
    return ProductRow(*row)
