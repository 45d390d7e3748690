"""GET /sync/status: PostgreSQL knows the runs, Redis who is there to do them."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from redis.asyncio import Redis
from redis.exceptions import RedisError

from common.postgres import Postgres
from sync import history, runs, timings
from sync.queue_state import read_queue_state
from sync.schemas import QueueOut, RunOut, SchedulerOut, SourceOut, StatusOut, WorkerOut
from sync.settings import SyncSettings

__all__ = ["read"]


@dataclass(kw_only=True)
class _Processes:
    """What Redis tells; the defaults are what we know without it."""

    redis_ok: bool = False
    queue: QueueOut | None = None
    workers: list[WorkerOut] = field(default_factory=list)
    scheduler: SchedulerOut = field(default_factory=lambda: SchedulerOut(alive=False, last_heartbeat=None))
    next_tick_at: datetime | None = None


async def read(db: Postgres, redis: Redis, settings: SyncSettings) -> StatusOut:
    """The state of all sources; without Redis, all but the liveness of its users."""
    try:
        processes = await _processes(redis, settings.source)
    except (RedisError, OSError):
        processes = _Processes()
    return StatusOut(
        sources=await _sources(db, settings, processes.next_tick_at),
        queue=processes.queue,
        workers=processes.workers,
        scheduler=processes.scheduler,
        redis="ok" if processes.redis_ok else "unavailable",
    )


async def _sources(db: Postgres, settings: SyncSettings, next_tick_at: datetime | None) -> list[SourceOut]:
    """All sources that were ever synced, and the one of the settings."""
    known = {it.name: (it.provider, it.url, it.succeeded_at) for it in await history.list_sources(db)}
    known.setdefault(settings.source, (settings.external_api_provider, settings.source_url, None))
    sources = []
    for name, (provider, url, succeeded_at) in sorted(known.items()):
        last, active = await history.last_run(db, name), await history.active_run(db, name)
        ours = name == settings.source
        first = await runs.first_sync(db, name, settings.interval) if ours and succeeded_at is None else None
        sources.append(
            SourceOut(
                source=name,
                provider=provider,
                url=url,
                last_run=RunOut.of(last) if last else None,
                active_run=RunOut.of(active) if active else None,
                last_success_at=succeeded_at,
                retry_at=first.retry_at if first else None,
                next_tick_at=next_tick_at if ours else None,
                interval_minutes=settings.sync_interval_minutes,
            )
        )
    return sources


async def _processes(redis: Redis, source: str) -> _Processes:
    state = await read_queue_state(redis, source)
    heartbeat = state.scheduler_heartbeat
    alive = heartbeat is not None and time.time() - heartbeat < timings.ALIVE
    return _Processes(
        redis_ok=True,
        queue=QueueOut(queued=state.queued, started=state.started, failed=state.failed),
        workers=await _workers(redis, state.workers),
        scheduler=SchedulerOut(alive=alive, last_heartbeat=_time(heartbeat)),
        next_tick_at=_time(state.next_tick),
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
