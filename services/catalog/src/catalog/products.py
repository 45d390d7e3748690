"""The queries on products, one function each."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from catalog.errors import ProductNotFound
from catalog.paging import Paging
from catalog.rows import Page, ProductRow
from catalog.schemas import ProductIn
from common.deadlines import paused_deadline
from common.web.compiled import CompiledQuery, jsonb, load_statements
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
# How many rows one transaction deletes.
PURGED_AT_ONCE = 1000
MAX_ID = 2**63 - 1

_STATEMENTS = load_statements("catalog")
_GET, _START, _PAGE = _STATEMENTS["products_by_ids"], _STATEMENTS["first_of_page"], _STATEMENTS["page"]
_product_of_get = _GET.getter(*ProductRow.__struct_fields__)
_product_of_page = _PAGE.getter(*ProductRow.__struct_fields__)
_total_and_found = _PAGE.getter("total", "found")


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
    return await _returned(
        _STATEMENTS["create_product"], transaction, _parameters({field: getattr(product, field) for field in FIELDS})
    )


async def get_for_update(transaction: Transaction, product_id: int, *, deleted: bool = False) -> ProductRow:
    """One product, locked until the request commits; a deleted one too if that is asked for."""
    lock = _STATEMENTS["lock_product" if deleted else "lock_live_product"]
    rows = await lock.fetch(transaction, product_id=product_id)
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
    await _returned(_STATEMENTS["delete_product"], transaction, {"product_id": product.id})


async def restore(transaction: Transaction, product: ProductRow) -> ProductRow:
    """Bring a locked product back if it is deleted."""
    deleted = await _STATEMENTS["restore_product"].fetch(transaction, product_id=product.id)
    return ProductRow(*deleted[0]) if deleted else product


async def purge(db: Database) -> int:
    """Delete the rows of products without a source that were deleted long ago, and return their number.

    Tombstones of synced products stay. It opens its own short transactions, since no request has one for it.
    """
    purged, count = 0, PURGED_AT_ONCE
    while count == PURGED_AT_ONCE:
        async with db.transaction() as transaction:
            count = await _STATEMENTS["purge_products"].execute(transaction, at_most=PURGED_AT_ONCE)
        purged += count
    return purged


async def _write(transaction: Transaction, product: ProductRow, values: dict[str, Any]) -> ProductRow:
    """Write the new values of some fields, and of `pinned`."""
    names = {"names": [name for name in FIELDS if name in values], "product_id": product.id}
    parameters = dict.fromkeys(FIELDS) | {"pinned": product.pinned} | _parameters(values) | names
    return await _returned(_STATEMENTS["update_product"], transaction, parameters)


def _parameters(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"attributes": jsonb(values["attributes"])} if "attributes" in values else values


async def _returned(query: CompiledQuery, transaction: Transaction, parameters: dict[str, Any]) -> ProductRow:
    (row,) = await query.fetch(transaction, **parameters)
    return ProductRow(*row)
