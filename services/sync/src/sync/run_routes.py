"""The routes of runs, for admins."""

from collections.abc import Awaitable, Mapping
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from fastapi import BackgroundTasks, Query, Response
from starlette.responses import StreamingResponse

from common import tracing
from common.web.errors import Unavailable
from common.web.openapi import Problem, problem_responses, response_headers
from common.web.routing import make_router
from common.web.state import Db
from common.web.strict_json import JSONResponse
from sync import decisions, events, history, queue, runs, source_changes, sources
from sync.catalog import CatalogUnavailable, StaleRun
from sync.errors import ProductsChanged, WrongState
from sync.permissions import CanSync
from sync.runs import RunRow
from sync.schemas import (
    ConflictProblem,
    DiffPage,
    ModeIn,
    RejectOut,
    RejectPage,
    RunOut,
    RunPage,
    SourceName,
    TriggerOut,
)
from sync.state import CatalogDep, HealthDep, SettingsDep, StreamsDep
from sync.states import DECIDABLE, ENDED, Mode, RunState, Trigger

__all__ = ["router"]

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
    label = await _label(db, run)
    page = await _asked(catalog.changes(label, run.pass_of, kind=kind, field=field, after=after, limit=limit))
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
    page = await _asked(catalog.rejects(await _label(db, run), run.pass_of, after=after, limit=limit))
    query = {"after": page.next} if page.next is not None else {}
    items = [RejectOut.model_validate(it) for it in page.items]
    return RejectPage(items=items, next=_next(f"/sync/runs/{run_id}/rejects", limit, query))


@router.post(
    "/sync/runs/{run_id}/apply",
    summary="Apply a plan",
    operation_id="apply_sync_run",
    status_code=202,
    responses={
        **ACCEPTED,
        **problem_responses(401, 403, 404),
        **problem_responses(409, model=ConflictProblem | Problem),
    },
)
async def apply_run(
    run_id: UUID,
    response: Response,
    after: BackgroundTasks,
    _: CanSync,
    db: Db,
    settings: SettingsDep,
    catalog: CatalogDep,
) -> TriggerOut:
    """Apply exactly what a staged or held run shows. 409 names the products that have changed since."""
    run = await history.get_run(db, run_id)
    if run.state not in DECIDABLE:
        raise WrongState(f"The run is {run.state}; a staged or held one can be applied.")
    found = await _asked(catalog.conflicts(await _label(db, run), run.pass_of))
    if found.total:
        raise ProductsChanged([msgspec.to_builtins(it) for it in found.items], found.total)
    approved = await decisions.approve(db, run_id, tracing.current_traceparent())
    if approved is None:
        raise WrongState("Somebody else has just decided, or another run of the source is active.")
    return _accepted(approved, response, after, settings)


@router.post(
    "/sync/runs/{run_id}/cancel",
    summary="Cancel a run",
    operation_id="cancel_sync_run",
    responses=problem_responses(401, 403, 404, 409),
)
async def cancel_run(run_id: UUID, _: CanSync, db: Db) -> RunOut:
    """Before its changes are applied. A worker that is at it stops within seconds; no product changes."""
    await history.get_run(db, run_id)
    cancelled = await decisions.cancel(db, run_id)
    if cancelled is None:
        run = await history.get_run(db, run_id)
        hint = "revert it when it has ended" if run.state not in ENDED else "it has ended"
        raise WrongState(f"The run is {run.state}: {hint}.")
    return RunOut.of(cancelled)


@router.post(
    "/sync/runs/{run_id}/retry",
    summary="Retry a run",
    operation_id="retry_sync_run",
    status_code=202,
    responses={**ACCEPTED, **problem_responses(401, 403, 404, 409)},
)
async def retry_run(
    run_id: UUID, response: Response, after: BackgroundTasks, _: CanSync, db: Db, settings: SettingsDep
) -> TriggerOut:
    """A new run in place of one that failed or was cancelled. It goes on after the last page where it can."""
    run = await history.get_run(db, run_id)
    if run.state not in (RunState.FAILED, RunState.CANCELLED):
        raise WrongState(f"The run is {run.state}; one that failed or was cancelled can be retried.")
    await source_changes.get_ready(db, settings, run.source)
    again = await runs.request(db, run.source, mode=run.mode, traceparent=tracing.current_traceparent())
    return _accepted(again, response, after, settings)


@router.post(
    "/sync/runs/{run_id}/revert",
    summary="Undo a run",
    operation_id="revert_sync_run",
    status_code=202,
    responses={**ACCEPTED, **problem_responses(400, 401, 403, 404, 409, 413, 415)},
)
async def revert_run(
    run_id: UUID,
    response: Response,
    after: BackgroundTasks,
    _: CanSync,
    db: Db,
    settings: SettingsDep,
    body: ModeIn | None = None,
) -> TriggerOut:
    """Restore what the run changed and nobody has changed since, by a run of its own; the others are its conflicts.

    What the source still says comes back with its next run: change its mapping or disable it before.
    """
    run = await history.get_run(db, run_id)
    if run.state is not RunState.SUCCEEDED:
        raise WrongState(f"The run is {run.state}; one that succeeded can be reverted.")
    mode = body.mode if body else Mode.APPLY
    reverting = await decisions.request_revert(db, run, mode, tracing.current_traceparent())
    if reverting is None:
        raise WrongState("Another run of the source is active: wait for it, or cancel it first.")
    return _accepted(reverting, response, after, settings)


async def _asked(answer: Awaitable[T]) -> T:
    """What catalog answers, its errors as ours."""
    try:
        return await answer
    except CatalogUnavailable as error:
        raise Unavailable(f"The catalog does not answer: {error}.") from None
    except StaleRun as error:
        raise WrongState(f"A newer run has taken the place of this one in the catalog: {error}") from None


async def _label(db: Db, run: RunRow) -> str:
    source = await sources.find(db, run.source)
    assert source is not None, "a run belongs to a source, whose row stays"
    return source.product_source


def _accepted(run: RunRow, response: Response, after: BackgroundTasks, settings: SettingsDep) -> TriggerOut:
    """The answer to what a worker will do; it is told after the answer."""
    after.add_task(queue.notify, settings, run.id, run.attempt)
    response.headers["Location"] = f"/sync/runs/{run.id}"
    return TriggerOut.of(run)


def _next(path: str, limit: int, query: Mapping[str, object]) -> str | None:
    """The path of the page after this one, with the same filters; None on the last one."""
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given | {'limit': limit})}" if given else None
