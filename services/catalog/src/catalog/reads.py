"""Reads of products in groups, and what is answered: each row is encoded once for all who wait for it."""

from collections.abc import Mapping, Sequence

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from catalog import products
from catalog.conditions import Conditions
from catalog.errors import ProductNotFound
from catalog.paging import Paging
from common.grouped_reads import GroupedReads
from common.json_encoding import dumps
from common.web.database import Database

__all__ = ["EncodedResponse", "ProductReads", "product_response"]

# How many ids, and how many different pages, one group reads at most: they are in memory at the same time.
PRODUCTS_AT_ONCE, PAGES_AT_ONCE = 64, 8

Encoded = tuple[str, bytes]
"""The entity tag of a product, and its JSON."""


class ProductReads:
    """The reads of one process. At most `lanes` groups of products, and as many of pages, are under way."""

    def __init__(self, db: Database, *, lanes: int) -> None:
        self._db = db
        self._products = GroupedReads(
            "product",
            self._read_products,
            last_answered=lambda: db.last_answered,
            lanes=lanes,
            group_size=PRODUCTS_AT_ONCE,
        )
        self._pages = GroupedReads(
            "page", self._read_pages, last_answered=lambda: db.last_answered, lanes=lanes, group_size=PAGES_AT_ONCE
        )

    async def product(self, product_id: int) -> Encoded:
        """Raises ProductNotFound."""
        if (found := await self._products.read(product_id)) is None:
            raise ProductNotFound(product_id)
        return found

    async def page(self, paging: Paging) -> bytes:
        """A `Page` as JSON."""
        if paging.offset <= products.DEEP_SKIP:
            return await self._page(paging)
        async with products.deep_start(self._db, paging) as start:
            return await self._page(start)

    async def close(self) -> None:
        await self._products.close()
        await self._pages.close()

    async def _page(self, paging: Paging) -> bytes:
        page = await self._pages.read(paging)
        assert page is not None, "there is a page for every paging"
        return page

    async def _read_products(self, ids: Sequence[int]) -> Mapping[int, Encoded]:
        return {row.id: (products.etag(row), dumps(row)) for row in await products.get(self._db, ids)}

    async def _read_pages(self, pagings: Sequence[Paging]) -> Mapping[Paging, bytes]:
        pages = await products.pages(self._db, pagings)
        return {paging: dumps(page) for paging, page in zip(pagings, pages, strict=True)}


class EncodedResponse(Response):
    """A response whose body is JSON already, without the cost of Starlette's headers.

    Caches may store it, but must revalidate it. Without a body it is a 304.
    """

    def __init__(self, body: bytes | None, tag: str | None = None) -> None:
        self.status_code, self.body, self.background = 304 if body is None else 200, body or b"", None
        self.raw_headers = [(b"cache-control", b"no-cache")]
        if tag is not None:
            self.raw_headers.append((b"etag", tag.encode()))
        if body is not None:
            self.raw_headers += ((b"content-length", b"%d" % len(body)), (b"content-type", b"application/json"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body})


def product_response(product: Encoded, conditions: Conditions | None) -> EncodedResponse:
    tag, body = product
    if conditions is not None and conditions.not_modified(tag):
        return EncodedResponse(None, tag)
    return EncodedResponse(body, tag)
