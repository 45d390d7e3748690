"""The import routes: for sync alone, and never routed by the gateway."""

import re
from collections.abc import Callable
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
from fastapi import Depends, Path, Request
from starlette.responses import Response

from catalog import importer
from catalog.permissions import CanImport
from common.web.body import check_media_type
from common.web.errors import InvalidJSON, Unprocessable
from common.web.routing import make_router
from common.web.strict_json import JSONResponse
from common.web.transactions import WriteTransaction
from imports.messages import RUN_PATH, Fence, ImportPage, decode_page

__all__ = ["router"]

router = make_router("imports", max_body=16 * 1024 * 1024)
Source = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
T = TypeVar("T")


async def _body(request: Request, decode: Callable[[bytes], T]) -> T:
    """The message in the body; raises Unprocessable or InvalidJSON. It is decoded by msgspec, since pages are large."""
    check_media_type(request, form=False)
    try:
        return decode(await request.body())
    except msgspec.ValidationError as error:
        rule, _, path = str(error).partition(" - at `$")
        pointer = "#" + re.sub(r"[.\[]", "/", path).replace("]", "").rstrip("`")
        raise Unprocessable(f"{pointer}: {rule}", [{"pointer": pointer, "detail": rule}]) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidJSON(str(error)) from None


async def _fence(request: Request) -> Fence:
    return await _body(request, msgspec.json.Decoder(Fence).decode)


async def _page(request: Request) -> ImportPage:
    return await _body(request, decode_page)


FenceBody = Annotated[Fence, Depends(_fence)]
PageBody = Annotated[ImportPage, Depends(_page)]


@router.put(RUN_PATH, response_model=None)
async def open_import(
    source: Source, run_id: UUID, fence: FenceBody, _: CanImport, transaction: WriteTransaction
) -> Response:
    """Begin a run or resume it."""
    return JSONResponse(await importer.open_run(transaction, source, run_id, fence.fencing_token))


@router.post(f"{RUN_PATH}/pages", response_model=None)
async def stage_page(
    source: Source, run_id: UUID, page: PageBody, _: CanImport, transaction: WriteTransaction
) -> Response:
    """Stage one page."""
    return JSONResponse(await importer.stage(transaction, source, run_id, page))


@router.post(f"{RUN_PATH}/merge", response_model=None)
async def merge_import(
    source: Source, run_id: UUID, fence: FenceBody, _: CanImport, transaction: WriteTransaction
) -> Response:
    """Merge a complete pass into the products."""
    return JSONResponse(await importer.merge(transaction, source, run_id, fence.fencing_token))
