"""The public routes of sync."""

from uuid import UUID

from fastapi import BackgroundTasks, Response

from common import tracing
from common.web.openapi import problem_responses, response_headers
from common.web.routing import make_router
from common.web.state import Db
from sync import history, queue, runs, status
from sync.permissions import CanSync
from sync.schemas import RunOut, StatusOut, TriggerIn, TriggerOut
from sync.state import RedisDep, SettingsDep

__all__ = ["router"]

router = make_router("sync")


@router.post(
    "/sync/trigger",
    summary="Start a sync",
    status_code=202,
    responses={202: {"headers": response_headers("Location")}, **problem_responses(400, 401, 403, 413, 415)},
)
async def trigger_sync(
    response: Response,
    after: BackgroundTasks,
    _: CanSync,
    db: Db,
    settings: SettingsDep,
    body: TriggerIn | None = None,
) -> TriggerOut:
    """Request a run of the source. If one is active already, the answer names that one: there are never two."""
    run = await runs.request(db, settings, traceparent=tracing.current_traceparent())
    after.add_task(queue.notify, settings, run.id, run.attempt)
    response.headers["Location"] = f"/sync/runs/{run.id}"
    return TriggerOut(run_id=run.id, status_url=f"/sync/runs/{run.id}")


@router.get(
    "/sync/status",
    summary="Get the state of all syncs",
    operation_id="get_sync_status",
    responses=problem_responses(401, 403),
)
async def get_status(_: CanSync, db: Db, redis: RedisDep, settings: SettingsDep) -> StatusOut:
    """Each source with its last and its active run, and the queue, workers and scheduler that serve it."""
    return await status.read(db, redis, settings)


@router.get(
    "/sync/runs/{run_id}",
    summary="Get a run",
    operation_id="get_sync_run",
    responses=problem_responses(401, 403, 404),
)
async def get_run(run_id: UUID, _: CanSync, db: Db) -> RunOut:
    """One run with its counts, and why it failed if it did."""
    return RunOut.of(await history.get_run(db, run_id))
