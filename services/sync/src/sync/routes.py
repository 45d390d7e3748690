"""The public routes of sync."""

from uuid import UUID

from fastapi import BackgroundTasks, Request, Response

from common import routing, tracing
from common.problems import describe
from sync import queue, runs, status
from sync.errors import RunNotFound
from sync.permissions import CanSync
from sync.schemas import RunOut, StatusOut, TriggerIn, TriggerOut

__all__ = ["router"]

router = routing.router("sync")


@router.post("/sync/trigger", summary="Start a sync", status_code=202, responses=describe(401, 403, 422))
async def trigger_sync(
    request: Request, response: Response, after: BackgroundTasks, _: CanSync, body: TriggerIn | None = None
) -> TriggerOut:
    """Ask for a run of the source. If one is active, the answer names that one: there are never two."""
    settings = request.state.settings
    run = await runs.request(request.state.db, settings, traceparent=tracing.current_traceparent())
    after.add_task(queue.tell, settings, run.id, run.attempt)
    response.headers["Location"] = f"/sync/runs/{run.id}"
    return TriggerOut(run_id=run.id, status_url=f"/sync/runs/{run.id}")


@router.get("/sync/status", summary="The state of all syncs", responses=describe(401, 403, 422))
async def get_status(request: Request, _: CanSync) -> StatusOut:
    """Each source with its last and its active run, and the queue, workers and scheduler that serve it."""
    return await status.read(request.state.db, request.state.redis, request.state.settings)


@router.get("/sync/runs/{run_id}", summary="Get a run", responses=describe(401, 403, 404, 422))
async def get_run(request: Request, run_id: UUID, _: CanSync) -> RunOut:
    """One run with its counts, and why it failed if it did."""
    if (run := await runs.by_id(request.state.db, run_id)) is None:
        raise RunNotFound(run_id)
    return RunOut.of(run)
