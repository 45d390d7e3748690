"""The import routes: for sync alone, and never routed by the gateway."""

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal, TypeVar
from uuid import UUID

import msgspec
from fastapi import Depends, Path, Query, Request
from starlette.responses import Response

from catalog import importer, run_reads, steps
from catalog.permissions import CanImport
from common.web.body import check_media_type
from common.web.errors import InvalidJSON, Unprocessable
from common.web.routing import PLAIN_DIGITS, make_router
from common.web.strict_json import JSONResponse
from common.web.transactions import Transactions, WriteTransaction
from imports.messages import (
    KINDS,
    MAX_LISTED,
    PRUNE_PATH,
    RUN_PATH,
    Apply,
    Fence,
    ImportPage,
    Missing,
    Prune,
    Revert,
    decode_page,
)
from imports.product import FIELDS

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


def _message(kind: type[T]) -> Callable[[Request], Awaitable[T]]:
    """The dependency that reads such a message."""
    decode = msgspec.json.Decoder(kind).decode

    async def read(request: Request) -> T:
        return await _body(request, decode)

    return read


async def _page(request: Request) -> ImportPage:
    return await _body(request, decode_page)


FenceBody = Annotated[Fence, Depends(_message(Fence))]
PageBody = Annotated[ImportPage, Depends(_page)]
MissingBody = Annotated[Missing, Depends(_message(Missing))]
ApplyBody = Annotated[Apply, Depends(_message(Apply))]
RevertBody = Annotated[Revert, Depends(_message(Revert))]
PruneBody = Annotated[Prune, Depends(_message(Prune))]
KIND_NAMES, FIELD_NAMES = KINDS, tuple(FIELDS)
Kind = Annotated[Literal[KIND_NAMES] | None, Query()]  # type: ignore[valid-type]
Field = Annotated[Literal[FIELD_NAMES] | None, Query()]  # type: ignore[valid-type]
After = Annotated[int, Query(ge=0, le=2**63 - 1), PLAIN_DIGITS]
Limit = Annotated[int, Query(ge=1, le=MAX_LISTED), PLAIN_DIGITS]


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


@router.delete(RUN_PATH, response_model=None)
async def discard_import(
    source: Source, run_id: UUID, fence: FenceBody, _: CanImport, transaction: WriteTransaction
) -> Response:
    """Delete what a run that was cancelled or has failed has staged."""
    return JSONResponse(await importer.discard(transaction, source, run_id, fence.fencing_token))


@router.post(f"{RUN_PATH}/compare", response_model=None)
async def compare_import(
    source: Source, run_id: UUID, body: MissingBody, _: CanImport, transaction: WriteTransaction
) -> Response:
    """What applying a complete pass would do."""
    compared = await importer.compare(transaction, source, run_id, body.fencing_token, body.missing)
    return JSONResponse(compared)


@router.post(f"{RUN_PATH}/plan", response_model=None)
async def plan_import(source: Source, run_id: UUID, body: MissingBody, _: CanImport, db: Transactions) -> Response:
    """Keep the changes that applying would make; to be repeated until done."""
    return JSONResponse(await steps.plan(db, source, run_id, body))


@router.post(f"{RUN_PATH}/revert", response_model=None)
async def plan_revert(source: Source, run_id: UUID, body: RevertBody, _: CanImport, db: Transactions) -> Response:
    """Plan the changes that undo another run's; to be repeated until done."""
    return JSONResponse(await steps.revert(db, source, run_id, body))


@router.post(f"{RUN_PATH}/apply", response_model=None)
async def apply_import(source: Source, run_id: UUID, body: ApplyBody, _: CanImport, db: Transactions) -> Response:
    """Make the staged records products, or make the planned changes; to be repeated until done."""
    return JSONResponse(await steps.apply(db, source, run_id, body))


@router.post(f"{RUN_PATH}/merge", response_model=None)
async def merge_import(source: Source, run_id: UUID, fence: FenceBody, _: CanImport, db: Transactions) -> Response:
    """Apply a complete pass in one request, for sync of the release before."""
    return JSONResponse(await steps.merge(db, source, run_id, fence))


@router.get(f"{RUN_PATH}/changes", response_model=None)
async def list_changes(
    source: Source,
    run_id: UUID,
    _: CanImport,
    transaction: WriteTransaction,
    kind: Kind = None,
    field: Field = None,
    after: After = 0,
    limit: Limit = 100,
) -> Response:
    """What a run has planned or changed."""
    return JSONResponse(await run_reads.changes(transaction, source, run_id, kind, field, after, limit))


@router.get(f"{RUN_PATH}/conflicts", response_model=None)
async def list_conflicts(
    source: Source, run_id: UUID, _: CanImport, transaction: WriteTransaction, limit: Limit = 100
) -> Response:
    """The products that have changed after a run was planned."""
    return JSONResponse(await run_reads.conflicts(transaction, source, run_id, limit))


@router.get(f"{RUN_PATH}/rejects", response_model=None)
async def list_rejects(
    source: Source, run_id: UUID, _: CanImport, transaction: WriteTransaction, after: After = 0, limit: Limit = 100
) -> Response:
    """The records of a run that were no products."""
    return JSONResponse(await run_reads.rejects(transaction, source, run_id, after, limit))


@router.post(PRUNE_PATH, response_model=None)
async def prune_imports(body: PruneBody, _: CanImport, transaction: WriteTransaction) -> Response:
    """Delete some of the changes and rejects of runs from before; to be repeated until done."""
    return JSONResponse(await run_reads.prune(transaction, body))
