"""The schedule heals, and any number of schedulers makes one run."""

import pickle
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from common.postgres import Postgres
from imports.counts import Counts
from sync import database, leases, queue, runs
from sync.queue import open_queue
from sync.scheduler import SchedulerLoop
from sync.settings import SyncSettings
from tests.fixtures.waiting import until
from tests.integration.sync.conftest import Launch, Make, requested

Rows = psycopg.Connection[Any]
QUEUED = "rq:queue:sync"
ENTRIES = "rq:scheduler:scheduled_jobs"
TICK = "tick-dummyjson"
SLOT_SECONDS, NEAR_SECONDS = 1800, 20


@pytest.fixture(autouse=True)
def _within_a_slot() -> None:
    """A tick that comes due in the middle of a test is a job more than it counts."""
    until(lambda: time.time() % SLOT_SECONDS < SLOT_SECONDS - NEAR_SECONDS)


@pytest.fixture
def settings(settings_of: Make) -> SyncSettings:
    return settings_of()


@pytest.fixture
async def db(settings: SyncSettings) -> AsyncIterator[Postgres]:
    async with database.connect(settings, "test") as connection:
        yield connection


@pytest.fixture
async def schedulers(settings: SyncSettings, db: Postgres) -> AsyncIterator[list[SchedulerLoop]]:
    """Two schedulers."""
    async with database.connect(settings, "test") as other:
        yield [SchedulerLoop(settings, queue.connect(settings), it) for it in (db, other)]


def end_runs(rows: Rows, valkey: "redis.Redis") -> None:
    rows.execute("UPDATE sync.runs SET state = 'succeeded' WHERE state IN ('queued', 'running')")
    valkey.delete(QUEUED)


class TestSchedule:
    async def test_first_pass_asks_for_the_first_run_and_schedules_the_tick(
        self, schedulers: list[SchedulerLoop], rows: Rows, valkey: "redis.Redis"
    ) -> None:
        for scheduler in schedulers:
            await scheduler.run_pass()
        assert rows.execute("SELECT trigger, state FROM sync.runs").fetchall() == [("initial", "queued")]
        assert open_queue(valkey).count == 1
        at = valkey.zscore(ENTRIES, TICK)
        assert at
        assert at % 1800 == 0
        assert 0 < at - time.time() <= 1800
        assert valkey.zcard(ENTRIES) == 1
        assert valkey.ttl(f"rq:job:{TICK}") == -1

    async def test_a_first_run_that_failed_is_tried_again_after_growing_pauses(
        self, schedulers: list[SchedulerLoop], rows: Rows, settings: SyncSettings, db: Postgres
    ) -> None:
        async def passed(seconds: int) -> int:
            """Seconds pass, both schedulers look; how many runs there are then."""
            times = ", ".join(f"{it} = {it} - make_interval(secs => {seconds})" for it in ("created_at", "retry_at"))
            rows.execute(f"UPDATE sync.runs SET {times}")
            for scheduler in schedulers:
                await scheduler.run_pass()
            counted = rows.execute("SELECT count(*) FROM sync.runs").fetchone()
            return int(counted[0]) if counted else 0

        async def end(error: str | None, **how: Any) -> None:
            run = await leases.claim(db, settings, (await requested(db, settings)).id)
            assert run
            assert await leases.finish(db, run, pages=1, counts=Counts(), error=error, **how)

        assert await passed(0) == 1
        for number, pause in enumerate((10, 20, 40, 80, 160, 320, 640, 1280, 1800, 1800), start=1):
            assert (await runs.list_due(db))[0].retry_at is None
            await end("broken")
            assert await passed(pause - 2) == number
            (due,) = await runs.list_due(db)
            assert due.retry_at
            assert not due.due
            assert not due.ever_synced
            assert await passed(3) == number + 1
        await end(None)
        assert await passed(100_000) == 11
        # From now on only what failed for a while is tried again, not sooner than the source asked for.
        await end("the format has changed")
        assert await passed(1700) == 12
        await end("the source is away", resumable=True, retry_after=900)
        assert await passed(895) == 13
        assert await passed(10) == 14
        assert rows.execute("SELECT trigger FROM sync.runs ORDER BY created_at DESC LIMIT 1").fetchone() == ("retry",)

    async def test_reasserting_keeps_the_time(
        self,
        schedulers: list[SchedulerLoop],
        settings_of: Make,
        valkey: "redis.Redis",
        settings: SyncSettings,
        db: Postgres,
    ) -> None:
        await schedulers[0].run_pass()
        valkey.zadd(ENTRIES, {TICK: time.time() + 77})
        at = valkey.zscore(ENTRIES, TICK)
        await schedulers[1].run_pass()
        await SchedulerLoop(settings, valkey, db).run_pass()
        assert valkey.zscore(ENTRIES, TICK) == at
        await SchedulerLoop(settings_of(sync_interval_minutes=10), valkey, db).run_pass()
        changed = valkey.zscore(ENTRIES, TICK)
        assert changed != at
        assert changed
        assert changed % 600 == 0

    async def test_flushed_redis_heals(
        self, schedulers: list[SchedulerLoop], rows: Rows, valkey: "redis.Redis"
    ) -> None:
        await schedulers[0].run_pass()
        rows.execute("UPDATE sync.runs SET created_at = created_at - interval '4 s'")
        valkey.flushall()
        await schedulers[0].run_pass()
        assert valkey.zscore(ENTRIES, TICK)
        assert len(open_queue(valkey).job_ids) == 1

    async def test_lost_job_of_the_entry_heals_within_a_minute(
        self, schedulers: list[SchedulerLoop], valkey: "redis.Redis"
    ) -> None:
        await schedulers[0].run_pass()
        valkey.delete(f"rq:job:{TICK}")
        await schedulers[1].run_pass()
        assert valkey.exists(f"rq:job:{TICK}")
        assert valkey.zscore(ENTRIES, TICK)

    async def test_an_overdue_source_is_ticked_at_once(
        self, schedulers: list[SchedulerLoop], rows: Rows, valkey: "redis.Redis"
    ) -> None:
        await schedulers[0].run_pass()
        end_runs(rows, valkey)
        rows.execute("UPDATE sync.runs SET created_at = now() - interval '2 hours'")
        valkey.flushall()
        await schedulers[0].run_pass()
        assert open_queue(valkey).job_ids == [TICK]
        at = valkey.zscore(ENTRIES, TICK)
        assert at
        assert at > time.time()

    async def test_a_due_tick_waits_once_however_often_it_is_due(
        self, schedulers: list[SchedulerLoop], rows: Rows, valkey: "redis.Redis"
    ) -> None:
        await schedulers[0].run_pass()
        end_runs(rows, valkey)
        for _ in range(3):
            valkey.zadd(ENTRIES, {TICK: time.time() - 1})
            for scheduler in schedulers:
                await scheduler.run_pass()
        assert open_queue(valkey).job_ids == [TICK]

    async def test_damaged_entries_do_not_stop_it(
        self, schedulers: list[SchedulerLoop], rows: Rows, valkey: "redis.Redis", tmp_path: Path
    ) -> None:
        await schedulers[0].run_pass()
        end_runs(rows, valkey)
        valkey.zadd(ENTRIES, {b"no such job": 1, b"\xff\xfe": 2, b"gone": 3, b"poison": 4, TICK.encode(): 5})
        valkey.hset(
            "rq:job:poison", mapping={"data": b"\x80\x04.", "status": "no status", "meta": evil(tmp_path / "x")}
        )
        await schedulers[0].run_pass()
        assert valkey.zcard(ENTRIES) == 1
        assert open_queue(valkey).job_ids == [TICK]
        assert not (tmp_path / "x").exists()


class TestTick:
    async def test_two_ticks_of_a_slot_make_one_run(
        self, launch: Launch, schedulers: list[SchedulerLoop], rows: Rows, valkey: "redis.Redis"
    ) -> None:
        """Workers of their own do the ticks; the runs themselves fail, since no source is there."""
        await schedulers[0].run_pass()
        end_runs(rows, valkey)
        rows.execute("UPDATE sync.sources SET url = 'http://127.0.0.1:1/products'")
        worker = launch("work", EXTERNAL_API_URL="http://127.0.0.1:1/products")
        ticks = 'products_sync_ticks_total{outcome="%s",source="dummyjson"}'
        for _ in range(2):
            valkey.zadd(ENTRIES, {TICK: time.time() - 1})
            for scheduler in schedulers:
                await scheduler.run_pass()
            until(lambda: open_queue(valkey).count == 0)
        until(lambda: worker.healthy() and worker.figure(ticks % "claimed") + worker.figure(ticks % "skipped") == 2)
        assert worker.figure(ticks % "claimed") == 1
        slots = rows.execute("SELECT count(*), count(DISTINCT slot) FROM sync.runs WHERE trigger = 'schedule'")
        assert slots.fetchone() == (1, 1)


class TestSweep:
    async def test_a_run_with_an_expired_lease_is_enqueued_once_in_3_s(
        self,
        schedulers: list[SchedulerLoop],
        settings: SyncSettings,
        rows: Rows,
        valkey: "redis.Redis",
        db: Postgres,
    ) -> None:
        await schedulers[0].run_pass()
        run = await requested(db, settings)
        assert await leases.claim(db, settings, run.id)
        valkey.delete(QUEUED)
        for scheduler in schedulers:
            await scheduler.run_pass()
        assert open_queue(valkey).count == 0
        rows.execute("UPDATE sync.runs SET lease_until = now() - interval '1 s'")
        for scheduler in schedulers:
            await scheduler.run_pass()
        assert open_queue(valkey).job_ids == [f"run-{run.id.hex}-1"]

    async def test_a_lost_message_is_sent_again_and_a_waiting_one_is_not(
        self, schedulers: list[SchedulerLoop], rows: Rows, valkey: "redis.Redis"
    ) -> None:
        await schedulers[0].run_pass()
        rows.execute("UPDATE sync.runs SET created_at = now() - interval '1 minute'")
        (dedup,) = valkey.keys("products:sync:enqueued:*")
        valkey.delete(dedup)
        await schedulers[0].run_pass()
        assert open_queue(valkey).count == 1
        valkey.delete(dedup, QUEUED)
        await schedulers[0].run_pass()
        assert open_queue(valkey).count == 1

    async def test_without_postgres_or_redis_a_pass_only_complains(
        self, settings_of: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings = settings_of(database_url="postgresql://x:y@127.0.0.1:1/z", redis_url="redis://127.0.0.1:1")
        async with database.connect(settings, "test") as db:
            scheduler = SchedulerLoop(settings, queue.connect(settings), db)
            for _ in range(2):
                await scheduler.run_pass()
        said = [record.getMessage() for record in caplog.records if "fails" in record.getMessage()]
        # Each step once, however many passes there are.
        assert sorted(line.split()[0] for line in said) == [
            "clean", "enqueue_ticks", "heartbeat", "look_after_sources", "sweep",
        ]  # fmt: skip


def evil(path: Path) -> bytes:
    """A pickle that makes a file when it is loaded."""

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (path,))

    return pickle.dumps(Evil())
