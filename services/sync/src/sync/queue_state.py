"""What RQ and rq-scheduler keep in Redis, for those who only look: the one place that knows their keys."""

from collections.abc import Sequence
from typing import NamedTuple

from redis.asyncio import Redis

from sync.queue import QUEUE, tick_id

__all__ = ["SCHEDULERS", "QueueState", "read_queue_state"]

SCHEDULERS = "products:sync:schedulers"
"""Our own: schedulers, by the times of their last passes."""


class QueueState(NamedTuple):
    """Jobs by state, the keys of the workers, when the sources' next ticks are due, and a scheduler was last heard of.

    Times are Unix seconds; None, or missing, if there is none.
    """

    queued: int
    started: int
    failed: int
    workers: list[bytes]
    next_ticks: dict[str, float]
    scheduler_heartbeat: float | None


async def read_queue_state(redis: Redis, sources: Sequence[str] = ()) -> QueueState:
    """One round trip; raises RedisError. RQ's own functions would clean up and load jobs on the way."""
    async with redis.pipeline(transaction=False) as pipeline:
        pipeline.llen(f"rq:queue:{QUEUE}")
        pipeline.zcard(f"rq:wip:{QUEUE}")
        pipeline.zcard(f"rq:failed:{QUEUE}")
        pipeline.smembers(f"rq:workers:{QUEUE}")
        pipeline.zrevrange(SCHEDULERS, 0, 0, withscores=True)
        for source in sources:
            pipeline.zscore("rq:scheduler:scheduled_jobs", tick_id(source))
        queued, started, failed, workers, schedulers, *ticks = await pipeline.execute()
    next_ticks = {source: at for source, at in zip(sources, ticks, strict=True) if at is not None}
    return QueueState(queued, started, failed, sorted(workers), next_ticks, schedulers[0][1] if schedulers else None)
