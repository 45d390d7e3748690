"""The routes by which admins decide about runs."""

from typing import Any
from uuid import UUID

import msgspec
from fastapi import BackgroundTasks, Response

from common import tracing
from common.web.openapi import Problem, problem_responses, response_headers
from common.web.routing import make_router
from common.web.state import Db
from sync import decisions, history, queue, runs, source_changes
from sync.errors import ProductsChanged, WrongState
from sync.permissions import CanSync
from sync.run_routes import asked, label_of
from sync.runs import RunRow
from sync.schemas import ConflictProblem, ModeIn, RunOut, TriggerOut
from sync.state import CatalogDep, SettingsDep
from sync.states import DECIDABLE, ENDED, Mode, RunState

__all__ = ["router"]

router = make_router("sync")
ACCEPTED: dict[int | str, dict[str, Any]] = {202: {"headers": response_headers("Location")}}


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
    found = await asked(catalog.conflicts(await label_of(db, run), run.pass_of))
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


def _accepted(run: RunRow, response: Response, after: BackgroundTasks, settings: SettingsDep) -> TriggerOut:
    """The answer to what a worker will do; it is told after the answer."""
    after.add_task(queue.notify, settings, run.id, run.attempt)
    response.headers["Location"] = f"/sync/runs/{run.id}"
    return TriggerOut.of(run)
