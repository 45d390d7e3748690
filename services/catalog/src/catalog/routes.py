"""The public routes of the catalog."""

from typing import Annotated

from fastapi import Header, Path, Query, Request
from pydantic import AfterValidator
from starlette.responses import Response

from catalog import products
from catalog.paging import MAX_SKIP, Paging
from catalog.permissions import CanWriteProducts
from catalog.schemas import Product, ProductIn, ProductOut, ProductPage
from common import routing
from common.db import WriteSession
from common.json import JSONResponse
from common.problems import describe
from common.routing import PlainInt

__all__ = ["router"]

router = routing.router("products", max_body=128 * 1024)
# Anybody may keep a product, but has to ask whether it is still current.
REVALIDATE = {"Cache-Control": "no-cache"}


def _not_too_deep(skip: int) -> int:
    if skip > MAX_SKIP:
        raise ValueError(f"must be at most {MAX_SKIP}; read deeper pages with `cursor`, from an empty one on")
    return skip


ProductId = Annotated[PlainInt, Path(ge=1, le=2**63 - 1)]
IfMatch = Annotated[str | None, Header(description="Write only this version: the `ETag` of an earlier answer.")]
IfNoneMatch = Annotated[str | None, Header(description="Answer 304 if this `ETag` is still current.")]
Skip = Annotated[
    PlainInt,
    AfterValidator(_not_too_deep),
    Query(ge=0, description="At most 1 000 000; deeper pages need `cursor`.", json_schema_extra={"maximum": MAX_SKIP}),
]
Cursor = Annotated[
    str | None,
    Query(description="Instead of `skip`: empty for the first page, then from `next`. Misses and repeats nothing."),
]
Limit = Annotated[PlainInt, Query(ge=1, le=500)]


@router.get(
    "/products",
    summary="List products",
    response_model=None,
    responses={200: {"model": ProductPage}, **describe(400, 422)},
)
async def list_products(request: Request, skip: Skip = 0, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """A page of products in the order of their ids, with the total and the path of the next page."""
    return JSONResponse(await products.page(request.state.db, Paging.of(skip, limit, cursor)), headers=REVALIDATE)


@router.get(
    "/products/{product_id}",
    summary="Get a product",
    response_model=None,
    responses={200: {"model": ProductOut}, 304: {"description": "Unchanged"}, **describe(404, 422)},
)
async def get_product(request: Request, product_id: ProductId, if_none_match: IfNoneMatch = None) -> Response:
    """One product, with its version as a strong `ETag`."""
    product = await products.get(request.state.db, product_id)
    tag = products.etag(product)
    if if_none_match is not None and products.matches(tag, if_none_match):
        return Response(status_code=304, headers={"ETag": tag} | REVALIDATE)
    return JSONResponse(product, headers={"ETag": tag} | REVALIDATE)


@router.post(
    "/products",
    summary="Create a product",
    status_code=201,
    response_model=None,
    responses={201: {"model": ProductOut}, **describe(400, 401, 403, 413, 415, 422)},
)
async def create_product(product: ProductIn, _: CanWriteProducts, session: WriteSession) -> Response:
    """The answer names the new product's address in `Location` and its version in `ETag`."""
    created = await products.create(session, product)
    return _answer(created, 201, Location=f"/products/{created.id}")


@router.put(
    "/products/{product_id}",
    summary="Replace a product",
    response_model=None,
    responses={200: {"model": ProductOut}, **describe(400, 401, 403, 404, 412, 413, 415, 422)},
)
async def replace_product(
    product_id: ProductId, change: ProductIn, _: CanWriteProducts, session: WriteSession, if_match: IfMatch = None
) -> Response:
    """Fields that you leave out get their defaults. On a synced product, changed fields are pinned."""
    product = await products.get_for_update(session, product_id)
    products.check_version(product, if_match)
    return _answer(await products.replace(session, product, change))


@router.delete(
    "/products/{product_id}",
    summary="Delete a product",
    status_code=204,
    response_model=None,
    responses=describe(401, 403, 404, 412, 422),
)
async def delete_product(
    product_id: ProductId, _: CanWriteProducts, session: WriteSession, if_match: IfMatch = None
) -> Response:
    """A synced product that you delete stays deleted: sync does not bring it back."""
    product = await products.get_for_update(session, product_id)
    products.check_version(product, if_match)
    await products.delete(session, product)
    return Response(status_code=204)


def _answer(product: Product, status: int = 200, **headers: str) -> Response:
    return JSONResponse(product, status, {"ETag": products.etag(product), **headers})
