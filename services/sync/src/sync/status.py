"""GET /sync/status: PostgreSQL knows the runs, Redis who is there to do them."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from redis.asyncio import Redis
from redis.exceptions import RedisError

from common.web.database import Database
from sync import initial, runs
from sync.queue import QUEUE, SCHEDULERS, tick_id
from sync.schemas import QueueOut, RunOut, SchedulerOut, SourceOut, StatusOut, WorkerOut
from sync.settings import SyncSettings

__all__ = ["read"]

ALIVE_SECONDS = 15


@dataclass
class _Processes:
    """What Redis tells; the defaults are what we know without it."""

    redis: str = "unavailable"
    queue: QueueOut | None = None
    workers: list[WorkerOut] = field(default_factory=list)
    scheduler: SchedulerOut = field(default_factory=lambda: SchedulerOut(alive=False, last_heartbeat=None))
    next_tick_at: datetime | None = None


async def read(db: Database, redis: Redis, settings: SyncSettings) -> StatusOut:
    """The state of all sources; without Redis, all but the liveness of its users."""
    try:
        processes = await _processes(redis, settings.source)
    except (RedisError, OSError):
        processes = _Processes()
    known = {name: (provider, url, success) for name, provider, url, success in await runs.sources(db)}
    known.setdefault(settings.source, (settings.external_api_provider, settings.source_url, None))
    sources = []
    for name, (provider, url, success) in sorted(known.items()):
        last, active = await runs.last(db, name), await runs.active(db, name)
        first = await initial.first_success(db, name, settings.interval) if success is None else None
        sources.append(
            SourceOut(
                source=name,
                provider=provider,
                url=url,
                last_run=RunOut.of(last) if last else None,
                active_run=RunOut.of(active) if active else None,
                last_success_at=success,
                retry_at=first.retry_at if first and name == settings.source else None,
                next_tick_at=processes.next_tick_at if name == settings.source else None,
                interval_minutes=settings.sync_interval_minutes,
            )
        )
    return StatusOut(
        sources=sources,
        queue=processes.queue,
        workers=processes.workers,
        scheduler=processes.scheduler,
        redis="ok" if processes.redis == "ok" else "unavailable",
    )


async def _processes(redis: Redis, source: str) -> _Processes:
    async with redis.pipeline(transaction=False) as pipeline:
        pipeline.llen(f"rq:queue:{QUEUE}")
        pipeline.zcard(f"rq:wip:{QUEUE}")
        pipeline.zcard(f"rq:failed:{QUEUE}")
        pipeline.zscore("rq:scheduler:scheduled_jobs", tick_id(source))
        pipeline.zrevrange(SCHEDULERS, 0, 0, withscores=True)
        pipeline.smembers(f"rq:workers:{QUEUE}")
        queued, started, failed, next_tick, schedulers, workers = await pipeline.execute()
    beat = schedulers[0][1] if schedulers else None
    alive = beat is not None and time.time() - beat < ALIVE_SECONDS
    return _Processes(
        redis="ok",
        queue=QueueOut(queued=queued, started=started, failed=failed),
        workers=await _workers(redis, sorted(workers)),
        scheduler=SchedulerOut(alive=alive, last_heartbeat=_time(beat)),
        next_tick_at=_time(next_tick),
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
