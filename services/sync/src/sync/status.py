"""GET /sync/status: PostgreSQL knows the runs, Redis who is there to do them."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from redis.asyncio import Redis
from redis.exceptions import RedisError

from common.postgres import Postgres
from common.urls import without_secrets
from sync import history, sources, timings
from sync.queue_state import read_queue_state
from sync.runs import RunRow
from sync.schemas import QueueOut, RunOut, SchedulerOut, SourceStatus, StatusOut, WorkerOut
from sync.settings import SyncSettings
from sync.sources import SourceRow
from sync.states import RunState

__all__ = ["read"]


@dataclass(kw_only=True)
class _Processes:
    """What Redis tells; the defaults are what we know without it."""

    redis_ok: bool = False
    queue: QueueOut | None = None
    workers: list[WorkerOut] = field(default_factory=list)
    scheduler: SchedulerOut = field(default_factory=lambda: SchedulerOut(alive=False, last_heartbeat=None))
    next_ticks: dict[str, float] = field(default_factory=dict)


async def read(db: Postgres, redis: Redis, settings: SyncSettings) -> StatusOut:
    """The state of all sources; without Redis, all but the liveness of its users."""
    await sources.register(db, settings)
    known = await sources.list_all(db)
    try:
        processes = await _processes(redis, [it.name for it in known])
    except (RedisError, OSError):
        processes = _Processes()
    return StatusOut(
        sources=await _sources(db, settings, known, processes.next_ticks),
        queue=processes.queue,
        workers=processes.workers,
        scheduler=processes.scheduler,
        redis="ok" if processes.redis_ok else "unavailable",
    )


async def _sources(
    db: Postgres, settings: SyncSettings, known: list[SourceRow], next_ticks: dict[str, float]
) -> list[SourceStatus]:
    last, active, successes = await history.last_runs(db), await history.active_runs(db), await history.successes(db)
    retry_at = {name: run.retry_at for name, run in last.items() if name not in active}
    return [
        SourceStatus(
            source=it.name,
            provider=it.provider,
            url=without_secrets(it.url),
            managed_by=it.managed_by,
            enabled=it.enabled,
            last_run=RunOut.of(last[it.name]) if it.name in last else None,
            active_run=RunOut.of(active[it.name]) if it.name in active else None,
            last_success_at=successes.get(it.name),
            retry_at=retry_at.get(it.name),
            next_tick_at=_time(next_ticks.get(it.name)),
            interval_minutes=it.interval_minutes if not it.cron else None,
            cron=it.cron,
            waits_for=_waits_for(it, active.get(it.name), settings),
        )
        for it in known
    ]


def _waits_for(source: SourceRow, active: RunRow | None, settings: SyncSettings) -> str | None:
    if source.name == settings.source and source.has_moved(settings):
        return source.move_question(settings)
    if active and active.state is RunState.HELD:
        return f"The run {active.id} is held: apply or cancel it."
    return None


async def _processes(redis: Redis, names: list[str]) -> _Processes:
    state = await read_queue_state(redis, names)
    heartbeat = state.scheduler_heartbeat
    alive = heartbeat is not None and time.time() - heartbeat < timings.ALIVE
    return _Processes(
        redis_ok=True,
        queue=QueueOut(queued=state.queued, started=state.started, failed=state.failed),
        workers=await _workers(redis, state.workers),
        scheduler=SchedulerOut(alive=alive, last_heartbeat=_time(heartbeat)),
        next_ticks=state.next_ticks,
    )


async def _workers(redis: Redis, keys: list[bytes]) -> list[WorkerOut]:
    async with redis.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.hmget(key, "state", "last_heartbeat")
        answers = await pipeline.execute()
    return [
        WorkerOut(
            name=key.decode().rpartition(":")[2],
            state=state.decode(),
            last_heartbeat=datetime.fromisoformat(beat.decode()) if beat else None,
        )
        for key, (state, beat) in zip(keys, answers, strict=True)
        # The hash of a killed worker expires before its name is cleaned up.
        if state
    ]


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
