"""The routes of runs, for admins."""

from collections.abc import Awaitable, Mapping
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Query, Response
from starlette.responses import StreamingResponse

from common.web.errors import Unavailable
from common.web.openapi import problem_responses, response_headers
from common.web.routing import make_router
from common.web.state import Db
from common.web.strict_json import JSONResponse
from sync import events, history, sources
from sync.catalog import CatalogUnavailable, StaleRun
from sync.errors import WrongState
from sync.permissions import CanSync
from sync.runs import RunRow
from sync.schemas import (
    DiffPage,
    RejectOut,
    RejectPage,
    RunOut,
    RunPage,
    SourceName,
)
from sync.state import CatalogDep, HealthDep, StreamsDep
from sync.states import RunState, Trigger

__all__ = ["asked", "label_of", "router"]

router = make_router("sync")
Limit = Annotated[int, Query(ge=1, le=500)]
After = Annotated[int, Query(ge=0, le=2**63 - 1, description="Take it from `next`.")]
T = TypeVar("T")
ACCEPTED: dict[int | str, dict[str, Any]] = {202: {"headers": response_headers("Location")}}


@router.get("/sync/runs", summary="List runs", operation_id="list_sync_runs", responses=problem_responses(401, 403))
async def list_runs(
    _: CanSync,
    db: Db,
    source: Annotated[SourceName | None, Query()] = None,
    state: RunState | None = None,
    trigger: Trigger | None = None,
    after: Annotated[UUID | None, Query(description="Take it from `next`.")] = None,
    limit: Limit = 50,
) -> RunPage:
    """The newest first, perhaps those of one source, state or trigger."""
    found = await history.list_runs(db, source=source, state=state, trigger=trigger, after=after, limit=limit + 1)
    query = (
        {"source": source, "state": state, "trigger": trigger, "after": found[limit - 1].id} if found[limit:] else {}
    )
    return RunPage(items=[RunOut.of(run) for run in found[:limit]], next=_next("/sync/runs", limit, query))


@router.get(
    "/sync/runs/{run_id}",
    summary="Get a run",
    operation_id="get_sync_run",
    responses=problem_responses(401, 403, 404),
)
async def get_run(run_id: UUID, _: CanSync, db: Db) -> RunOut:
    """One run with its counts, and why it failed or is held."""
    return RunOut.of(await history.get_run(db, run_id))


@router.get(
    "/sync/runs/{run_id}/diff",
    summary="See what a run changes",
    operation_id="get_sync_run_diff",
    response_model=None,
    responses={200: {"model": DiffPage}, **problem_responses(401, 403, 404)},
)
async def get_diff(
    run_id: UUID,
    _: CanSync,
    db: Db,
    catalog: CatalogDep,
    kind: Annotated[str | None, Query(max_length=20, pattern="^[a-z]+$")] = None,
    field: Annotated[str | None, Query(max_length=20, pattern="^[a-z_]+$", description="A field that changes.")] = None,
    after: After = 0,
    limit: Limit = 100,
) -> Response:
    """What a staged or held run would change, or what one has changed: by product and field, old and new."""
    run = await history.get_run(db, run_id)
    label = await label_of(db, run)
    page = await asked(catalog.changes(label, run.pass_of, kind=kind, field=field, after=after, limit=limit))
    query = {"kind": kind, "field": field, "after": page.next} if page.next is not None else {}
    # As it comes: pydantic would write prices as strings.
    path = _next(f"/sync/runs/{run_id}/diff", limit, query)
    return JSONResponse({"items": page.items, "next": path, "totals": page.totals})


@router.get(
    "/sync/runs/{run_id}/events",
    summary="Follow a run",
    operation_id="follow_sync_run",
    response_model=None,
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}, **problem_responses(401, 403, 404)},
)
async def follow_run(run_id: UUID, _: CanSync, db: Db, health: HealthDep, streams: StreamsDep) -> StreamingResponse:
    """Server-Sent Events: `run`, with the whole run, whenever it has changed, until it ends or waits for an admin.

    Ask with `Accept: text/event-stream`, which tells the gateway not to wait for the end.
    """
    await history.get_run(db, run_id)
    lines = streams.limited(events.follow(db, run_id, health))
    return StreamingResponse(lines, media_type="text/event-stream")


@router.get(
    "/sync/runs/{run_id}/rejects",
    summary="See the records that were no products",
    operation_id="get_sync_run_rejects",
    responses=problem_responses(401, 403, 404),
)
async def get_rejects(
    run_id: UUID, _: CanSync, db: Db, catalog: CatalogDep, after: After = 0, limit: Limit = 100
) -> RejectPage:
    """Each with the reason."""
    run = await history.get_run(db, run_id)
    page = await asked(catalog.rejects(await label_of(db, run), run.pass_of, after=after, limit=limit))
    query = {"after": page.next} if page.next is not None else {}
    items = [RejectOut.model_validate(it) for it in page.items]
    return RejectPage(items=items, next=_next(f"/sync/runs/{run_id}/rejects", limit, query))


async def asked(answer: Awaitable[T]) -> T:
    """What catalog answers, its errors as ours."""
    try:
        return await answer
    except CatalogUnavailable as error:
        raise Unavailable(f"The catalog does not answer: {error}.") from None
    except StaleRun as error:
        raise WrongState(f"A newer run has taken the place of this one in the catalog: {error}") from None


async def label_of(db: Db, run: RunRow) -> str:
    source = await sources.find(db, run.source)
    assert source is not None, "a run belongs to a source, whose row stays"
    return source.product_source


def _next(path: str, limit: int, query: Mapping[str, object]) -> str | None:
    """The path of the page after this one, with the same filters; None on the last one."""
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given | {'limit': limit})}" if given else None
