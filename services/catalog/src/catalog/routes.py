"""The public routes of the catalog."""

from typing import Annotated, Any, Literal

from fastapi import Body, Path, Query
from pydantic import AfterValidator
from starlette.responses import Response

from catalog import changes, products
from catalog.conditions import ReadConditions, WriteConditions
from catalog.paging import DEFAULT_LIMIT, MAX_LIMIT, MAX_SKIP, Paging
from catalog.permissions import CanWriteProducts
from catalog.reads import EncodedResponse, product_response
from catalog.rows import ProductRow
from catalog.schemas import ProductIn, ProductOut, ProductPage
from catalog.state import Reads
from common.web.openapi import problem_responses, response_headers
from common.web.routing import PLAIN_DIGITS, make_router
from common.web.strict_json import JSONResponse
from common.web.transactions import WriteTransaction
from imports.product import FIELDS

__all__ = ["router"]

router = make_router("products", max_body=128 * 1024)


def _not_too_deep(skip: int) -> int:
    if skip > MAX_SKIP:
        raise ValueError(f"must be at most {MAX_SKIP}; read deeper pages with `cursor`, from an empty one on")
    return skip


FIELD_NAMES = tuple(FIELDS)
Field = Annotated[Literal[FIELD_NAMES], Path()]  # type: ignore[valid-type]
Change = Annotated[dict[str, Any], Body(json_schema_extra=changes.document())]
ProductId = Annotated[int, Path(ge=1, le=2**63 - 1), PLAIN_DIGITS]
Skip = Annotated[
    int,
    Query(ge=0, description="Deeper pages need `cursor`.", json_schema_extra={"maximum": MAX_SKIP}),
    PLAIN_DIGITS,
    AfterValidator(_not_too_deep),
]
Cursor = Annotated[
    str | None,
    Query(
        description=(
            "Instead of `skip`: empty for the first page, then from `next`. Products that exist when the first page is "
            "read are listed once each; one that is created meanwhile may be missing."
        )
    ),
]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT), PLAIN_DIGITS]


@router.get(
    "/products",
    summary="List products",
    response_model=None,
    responses={200: {"model": ProductPage}, **problem_responses(400)},
)
async def list_products(reads: Reads, skip: Skip = 0, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Response:
    """A page of products in the order of their ids, with the total and the path of the next page."""
    return EncodedResponse(await reads.page(Paging.of(skip, limit, cursor)))


@router.get(
    "/products/{product_id}",
    summary="Get a product",
    response_model=None,
    responses={
        200: {"model": ProductOut, "headers": response_headers("ETag")},
        304: {"description": "Unchanged.", "headers": response_headers("ETag")},
        **problem_responses(400, 404),
    },
)
async def get_product(reads: Reads, product_id: ProductId, conditions: ReadConditions) -> Response:
    """One product, with its version as a strong `ETag`."""
    return product_response(await reads.product(product_id), conditions)


@router.post(
    "/products",
    summary="Create a product",
    status_code=201,
    response_model=None,
    responses={
        201: {"model": ProductOut, "headers": response_headers("ETag", "Location")},
        **problem_responses(400, 401, 403, 413, 415),
    },
)
async def create_product(product: ProductIn, _: CanWriteProducts, transaction: WriteTransaction) -> Response:
    """`Location` is the path of the new product, `ETag` its version."""
    created = await products.create(transaction, product)
    return _response(created, 201, Location=f"/products/{created.id}")


@router.put(
    "/products/{product_id}",
    summary="Change a product",
    response_model=None,
    responses={
        200: {"model": ProductOut, "headers": response_headers("ETag")},
        **problem_responses(400, 401, 403, 404, 412, 413, 415),
    },
)
async def change_product(
    product_id: ProductId, sent: Change, _: CanWriteProducts, transaction: WriteTransaction, conditions: WriteConditions
) -> Response:
    """Fields that you leave out keep their values, and `null` clears an optional one.

    On a synced product the fields whose values change are pinned: sync no longer changes them.
    """
    product = await products.get_for_update(transaction, product_id)
    conditions.check(products.etag(product))
    return _response(await products.update(transaction, product, changes.changes(product, sent)))


@router.delete(
    "/products/{product_id}/pins/{field}",
    summary="Unpin a field",
    status_code=204,
    response_model=None,
    responses=problem_responses(400, 401, 403, 404, 412),
)
async def unpin_field(
    product_id: ProductId, field: Field, _: CanWriteProducts, transaction: WriteTransaction, conditions: WriteConditions
) -> Response:
    """The next sync restores the source's value. A field that is not pinned stays as it is."""
    product = await products.get_for_update(transaction, product_id)
    conditions.check(products.etag(product))
    await products.unpin(transaction, product, field)
    return Response(status_code=204)


@router.delete(
    "/products/{product_id}",
    summary="Delete a product",
    status_code=204,
    response_model=None,
    responses=problem_responses(400, 401, 403, 404, 412),
)
async def delete_product(
    product_id: ProductId, _: CanWriteProducts, transaction: WriteTransaction, conditions: WriteConditions
) -> Response:
    """A synced product that you delete stays deleted: sync does not bring it back, but you can restore it."""
    product = await products.get_for_update(transaction, product_id)
    conditions.check(products.etag(product))
    await products.delete(transaction, product)
    return Response(status_code=204)


@router.post(
    "/products/{product_id}/restore",
    summary="Restore a deleted product",
    response_model=None,
    responses={
        200: {"model": ProductOut, "headers": response_headers("ETag")},
        **problem_responses(400, 401, 403, 404, 412),
    },
)
async def restore_product(
    product_id: ProductId, _: CanWriteProducts, transaction: WriteTransaction, conditions: WriteConditions
) -> Response:
    """The product as it was when it was deleted, under its id; one that is not deleted stays as it is.

    A product without a source can be restored for 30 days.
    """
    product = await products.get_for_update(transaction, product_id, deleted=True)
    conditions.check(products.etag(product))
    return _response(await products.restore(transaction, product))


def _response(product: ProductRow, status: int = 200, **headers: str) -> Response:
    return JSONResponse(product, status, {"ETag": products.etag(product), **headers})
