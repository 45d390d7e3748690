"""The routes that start syncs and tell of all of them."""

from fastapi import BackgroundTasks, Response

from common import tracing
from common.web.openapi import problem_responses, response_headers
from common.web.routing import make_router
from common.web.state import Db
from sync import queue, runs, source_changes, status
from sync.permissions import CanSync
from sync.schemas import StatusOut, TriggerIn, TriggerOut
from sync.state import RedisDep, SettingsDep
from sync.states import RunState

__all__ = ["router"]

router = make_router("sync")


@router.post(
    "/sync/trigger",
    summary="Start a sync",
    status_code=202,
    responses={202: {"headers": response_headers("Location")}, **problem_responses(400, 401, 403, 404, 409, 413, 415)},
)
async def trigger_sync(
    response: Response,
    after: BackgroundTasks,
    _: CanSync,
    db: Db,
    settings: SettingsDep,
    body: TriggerIn | None = None,
) -> TriggerOut:
    """Request a run of a source. If one is active already, the answer names that one: there are never two."""
    wanted = body or TriggerIn.model_validate({})
    source = await source_changes.get_ready(db, settings, wanted.source or settings.source)
    traceparent = tracing.current_traceparent()
    run = await runs.request(db, source.name, mode=wanted.mode, full=wanted.full, traceparent=traceparent)
    if run.state is RunState.QUEUED:
        after.add_task(queue.notify, settings, run.id, run.attempt)
    response.headers["Location"] = f"/sync/runs/{run.id}"
    return TriggerOut.of(run)


@router.get(
    "/sync/status",
    summary="Get the state of all syncs",
    operation_id="get_sync_status",
    responses=problem_responses(401, 403),
)
async def get_status(_: CanSync, db: Db, redis: RedisDep, settings: SettingsDep) -> StatusOut:
    """Each source with its last and its active run, and the queue, workers and scheduler that serve it."""
    return await status.read(db, redis, settings)
