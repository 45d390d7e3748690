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

import psycopg
import redis.exceptions
from prometheus_client import REGISTRY
from redis import Redis
from rq.registry import clean_registries
from rq.worker_registration import clean_worker_registry

from common.postgres import Postgres
from sync import database, monitoring, runs, sources, stalled, timings
from sync.gauges import SyncGauges
from sync.queue import SafeQueue, connect, enqueue, open_queue, tick_id
from sync.queue_state import SCHEDULERS
from sync.runs import RunRow
from sync.schedule import Schedule
from sync.settings import SyncSettings
from sync.shutdown import ShutdownFlag
from sync.sources import SourceRow
from sync.tick_schedule import SyncScheduler

__all__ = ["SchedulerLoop", "schedule"]

log = logging.getLogger(__name__)


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
