"""The import routes: for sync alone, and never routed by the gateway."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import Path, Request

from catalog import importer
from catalog.permissions import CanImport
from catalog.schemas import ImportFence, ImportPage, ImportResult, ImportState
from common.web.errors import InvalidJSON, Unprocessable
from common.web.routing import make_router
from common.web.sessions import WriteSession

__all__ = ["router"]

router = make_router("internal", max_body=16 * 1024 * 1024)
Source = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
RUN = "/internal/imports/{source}/runs/{run_id}"


@router.put(RUN)
async def open_import(
    source: Source, run_id: UUID, fence: ImportFence, _: CanImport, session: WriteSession
) -> ImportState:
    """Begin a run or resume it."""
    return await importer.open_run(session, source, run_id, fence.fence)


@router.post(f"{RUN}/pages")
async def stage_page(
    request: Request, source: Source, run_id: UUID, _: CanImport, session: WriteSession
) -> dict[str, int]:
    """Stage one page."""
    return await importer.stage(session, source, run_id, _page(await request.body()))


@router.post(f"{RUN}/merge")
async def merge_import(
    source: Source, run_id: UUID, fence: ImportFence, _: CanImport, session: WriteSession
) -> ImportResult:
    """Merge a complete pass into the products."""
    return await importer.merge(session, source, run_id, fence.fence)


_decoder = msgspec.json.Decoder(ImportPage, float_hook=Decimal)


def _page(body: bytes) -> ImportPage:
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Unprocessable(str(error), [{"pointer": "#", "detail": str(error)}]) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidJSON(str(error)) from None
