"""The schedule of ticks in Redis, by rq-scheduler."""

import logging
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import redis.exceptions
from redis import Redis
from rq_scheduler import Scheduler

from sync import timings
from sync.queue import TICK, SafeJob, SafeQueue, open_queue, tick_id
from sync.schedule import Schedule

__all__ = ["SyncScheduler"]

log = logging.getLogger(__name__)


class SyncScheduler(Scheduler):  # type: ignore[misc]
    """rq-scheduler that survives damaged entries and never loses its own."""

    queue_class = SafeQueue
    job_class = SafeJob

    def __init__(self, connection: Redis) -> None:
        super().__init__(queue=open_queue(connection), connection=connection, interval=timings.PASS)

    def enqueue_jobs(self) -> None:
        """Enqueue what is due, if no other scheduler is at it."""
        if not self.acquire_lock():
            return
        try:
            for job_id in self.connection.zrangebyscore(self.scheduled_jobs_key, 0, time.time()):
                self._enqueue(job_id)
        finally:
            self.remove_lock()

    def _enqueue(self, job_id: bytes) -> None:
        try:
            self.enqueue_job(self.job_class.fetch(job_id.decode(), connection=self.connection))
        except redis.exceptions.RedisError:
            raise
        except Exception as error:
            log.error("a damaged schedule entry was thrown away: %s", type(error).__name__)
            self.connection.zrem(self.scheduled_jobs_key, job_id)

    def enqueue_job(self, job: Any) -> None:
        """Put a due job into the queue, once, and move its entry to the next time, in the order that loses none."""
        upcoming = _schedule_of(job).next_after(time.time())
        queue = open_queue(self.connection)
        # With no worker the entries would pile up.
        queue.remove(job)
        queue.enqueue_job(job)
        if upcoming is None:
            self.connection.zrem(self.scheduled_jobs_key, job.id)
        else:
            self.connection.zadd(self.scheduled_jobs_key, {job.id: upcoming})

    def assert_tick(self, source: str, schedule: Schedule, *, overdue: bool) -> None:
        """The source's tick is in the schedule; one that is keeps its time.

        One that is further away than the next time was scheduled by a clock that has been set back since.
        """
        now, at = time.time(), self.connection.zscore(self.scheduled_jobs_key, tick_id(source))
        upcoming = schedule.next_after(now)
        if upcoming is None:
            self.cancel(tick_id(source))
            return
        if at and at <= upcoming + timings.SLOT_TOLERANCE and self._known(tick_id(source)) == schedule:
            return
        self.schedule(
            datetime.fromtimestamp(now if overdue else upcoming, UTC),
            TICK,
            args=[source],
            interval=schedule.interval,
            meta={"cron": schedule.cron, "timezone": schedule.timezone},
            id=tick_id(source),
            # A positive one would let the schedule expire.
            result_ttl=-1,
            timeout=timings.JOB_LIMIT,
        )
        log.info("tick scheduled", extra={"source": source} | msgspec.to_builtins(schedule))

    def sources(self) -> set[str]:
        """The names of the sources whose ticks are scheduled."""
        entries = [entry.decode() for entry in self.connection.zrange(self.scheduled_jobs_key, 0, -1)]
        return {entry.removeprefix(tick_id("")) for entry in entries if entry.startswith(tick_id(""))}

    def _known(self, job_id: str) -> Schedule | None:
        try:
            return _schedule_of(self.job_class.fetch(job_id, connection=self.connection))
        except redis.exceptions.RedisError:
            raise
        except Exception:
            return None


def _schedule_of(job: Any) -> Schedule:
    """The schedule that an entry was made for; entries of another release have an interval only."""
    meta = job.meta
    interval = meta.get("interval")
    return Schedule(interval and int(interval), meta.get("cron"), meta.get("timezone", "UTC"))
