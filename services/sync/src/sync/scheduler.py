"""The scheduler: ticks, and enqueues stalled runs again. Any number of it may run.

Redis holds nothing that cannot be lost: the schedule is put back within a second, and every pass looks in
PostgreSQL for queued runs whose message was lost and for runs whose lease has expired.
"""

import asyncio
import logging
import socket
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg
import redis.exceptions
from prometheus_client import REGISTRY
from redis import Redis
from rq.registry import clean_registries
from rq.worker_registration import clean_worker_registry
from rq_scheduler import Scheduler

from common.postgres import Postgres
from sync import database, monitoring, runs, sources, stalled, timings
from sync.gauges import SyncGauges
from sync.queue import TICK, SafeJob, SafeQueue, connect, enqueue, open_queue, tick_id
from sync.queue_state import SCHEDULERS
from sync.runs import RunRow
from sync.schedule import Schedule
from sync.settings import SyncSettings
from sync.shutdown import ShutdownFlag
from sync.sources import SourceRow

__all__ = ["SchedulerLoop", "SyncScheduler", "schedule"]

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


class SchedulerLoop:
    """What a scheduler does again and again; a step that fails is logged and tried at the next pass.

    RQ is not async, so what it does goes to a thread.
    """

    def __init__(self, settings: SyncSettings, connection: Redis, db: Postgres) -> None:
        self._settings = settings
        self._redis = connection
        self._db = db
        self._scheduler = SyncScheduler(connection)
        self._name = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        self._sources: list[SourceRow] = []
        self._scheduled: dict[str, Schedule] = {}
        self._registered = self._asserted = self._cleaned = float("-inf")
        self._failing: set[str] = set()

    async def run(self, shutdown: ShutdownFlag) -> None:
        """Passes with pauses, until the process has to end."""
        while not shutdown.requested:
            await self.run_pass()
            await asyncio.sleep(timings.PASS)

    async def run_pass(self) -> None:
        """One pass. Its steps do not wait for each other: PostgreSQL may be away, or Redis."""
        steps = (self._heartbeat, self._look_after_sources, self._sweep, self._clean)
        await asyncio.gather(*(self._guarded(step) for step in steps))
        await self._guarded(self._enqueue_ticks)

    async def _guarded(self, step: Callable[[], Awaitable[None]]) -> None:
        name = step.__name__.strip("_")
        try:
            await step()
            self._failing.discard(name)
        except Exception as error:
            if name not in self._failing:
                expected = isinstance(error, redis.exceptions.RedisError | psycopg.Error)
                log.warning("%s fails: %s", name, type(error).__name__, exc_info=None if expected else error)
            self._failing.add(name)

    async def _heartbeat(self) -> None:
        now = time.time()
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.zadd(SCHEDULERS, {self._name: now})
            pipeline.zremrangebyscore(SCHEDULERS, 0, now - timings.FORGET)
            await asyncio.to_thread(pipeline.execute)

    async def _look_after_sources(self) -> None:
        """What follows from the sources that there are now."""
        if time.monotonic() - self._registered > timings.REASSERT:
            await sources.register(self._db, self._settings)
            self._registered = time.monotonic()
        self._sources = await sources.list_all(self._db)
        await asyncio.gather(self._guarded(self._request_due), self._guarded(self._schedule))

    async def _request_due(self) -> None:
        """A source that was never synced is synced at once; one whose run failed for a while only, after a pause."""
        ours = {
            it.name for it in self._sources if not it.is_foreign(self._settings) and not it.has_moved(self._settings)
        }
        for it in await runs.list_due(self._db):
            if not it.due or it.source not in ours:
                continue
            if run := await runs.request_due(self._db, it.source, ever_synced=it.ever_synced):
                log.info("%s run requested", run.trigger, extra={"run_id": str(run.id), "source": run.source})
                await self._enqueue(run)

    async def _sweep(self) -> None:
        """Enqueue runs whose message was lost, or whose lease has expired; end those that no worker will take."""
        for run in await stalled.end_abandoned(self._db, self._settings):
            log.warning("run failed: %s", run.error, extra={"run_id": str(run.id), "source": run.source})
        for run in await stalled.list_stalled(self._db, self._settings):
            if await self._enqueue(run):
                fields = {"run_id": str(run.id), "source": run.source}
                log.warning("enqueued a %s run again: no worker has it", run.state, extra=fields)

    async def _enqueue(self, run: RunRow) -> bool:
        return await asyncio.to_thread(enqueue, self._redis, run.id, run.attempt)

    async def _schedule(self) -> None:
        """Each source has its tick; those that were lost, or whose schedule has changed, are put back."""
        reassert = time.monotonic() - self._asserted > timings.REASSERT
        scheduled = await asyncio.to_thread(self._scheduler.sources)
        foreign = {it.name for it in self._sources if it.is_foreign(self._settings)}
        wanted = {it.name: it.schedule for it in self._sources if it.enabled and it.name not in foreign}
        for name in scheduled - wanted.keys() - foreign:
            await asyncio.to_thread(self._scheduler.cancel, tick_id(name))
        for name, schedule in wanted.items():
            if reassert or name not in scheduled or self._scheduled.get(name) != schedule:
                await self._assert_tick(name, schedule)
        self._scheduled = wanted
        self._asserted = time.monotonic() if reassert else self._asserted

    async def _assert_tick(self, name: str, schedule: Schedule) -> None:
        clock = await runs.clock(self._db, name)
        overdue = clock.newest is not None and schedule.is_overdue(clock.newest, clock.now)
        await asyncio.to_thread(self._scheduler.assert_tick, name, schedule, overdue=overdue)

    async def _enqueue_ticks(self) -> None:
        await asyncio.to_thread(self._scheduler.enqueue_jobs)

    async def _clean(self) -> None:
        """RQ's workers clean up too seldom."""
        if time.monotonic() - self._cleaned > timings.CLEAN:
            await asyncio.to_thread(_clean_registries, open_queue(self._redis))
            self._cleaned = time.monotonic()


def _clean_registries(queue: SafeQueue) -> None:
    clean_registries(queue)
    clean_worker_registry(queue)
    # What killed workers were about to do; PostgreSQL knows better.
    queue.connection.ltrim(queue.intermediate_queue_key, -100, -1)


def schedule(settings: SyncSettings) -> None:
    """Schedule until SIGTERM or SIGINT; PostgreSQL and Redis may come late, go and come back."""
    shutdown = ShutdownFlag()
    shutdown.listen()
    with monitoring.serve(settings, "sync-scheduler", shutdown) as monitor:
        REGISTRY.register(SyncGauges(monitor))
        asyncio.run(_schedule(settings, shutdown))


async def _schedule(settings: SyncSettings, shutdown: ShutdownFlag) -> None:
    async with database.connect(settings, "sync-scheduler") as db:
        await SchedulerLoop(settings, connect(settings), db).run(shutdown)
