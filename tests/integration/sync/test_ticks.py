"""A tick claims its slot and does that run in the same job; metrics tell both, also when the job is killed."""

from typing import Any

import psycopg
import redis

from sync import timings
from sync.queue import SafeJob, open_queue
from tests.fixtures.processes import Process
from tests.fixtures.waiting import until
from tests.integration.sync.conftest import Feed, Gate, Launch
from tests.integration.sync.test_worker import horse, names

Rows = psycopg.Connection[Any]


def send_tick(valkey: "redis.Redis", **options: Any) -> None:
    open_queue(valkey).enqueue("sync.jobs.tick", "dummyjson", job_id="tick-dummyjson", result_ttl=-1, **options)


def ticks(worker: Process, outcome: str) -> float:
    return worker.figure(f'products_sync_ticks_total{{outcome="{outcome}",source="dummyjson"}}')


def runs(worker: Process, outcome: str) -> float:
    return worker.figure(f'products_sync_runs_total{{outcome="{outcome}",source="dummyjson"}}')


def start_tick(launch: Launch, valkey: "redis.Redis", feed: Feed, **settings: str) -> tuple[Process, Gate]:
    """A worker in the run of a tick, whose source waits for the gate."""
    feed.before = gate = Gate(100)
    worker = launch("work", **settings)
    send_tick(valkey)
    assert gate.reached.wait(30)
    return worker, gate


def states(rows: Rows) -> list[tuple[Any, ...]]:
    return rows.execute("SELECT trigger, state, attempt FROM sync.runs ORDER BY created_at").fetchall()


class TestTick:
    def test_one_job_claims_the_slot_and_does_the_run(
        self, launch: Launch, rows: Rows, valkey: "redis.Redis", products: Rows
    ) -> None:
        worker = launch("work", SYNC_INTERVAL_MINUTES="10080")
        until(worker.healthy)
        send_tick(valkey)
        until(lambda: runs(worker, "succeeded") == 1)
        assert states(rows) == [("schedule", "succeeded", 1)]
        assert (ticks(worker, "claimed"), ticks(worker, "skipped"), ticks(worker, "failed")) == (1, 0, 0)
        assert (
            worker.figure('products_sync_rows_total{kind="created",source="dummyjson"}') == len(names(products)) == 194
        )
        assert worker.figure('products_sync_run_duration_seconds_count{source="dummyjson"}') == 1
        # No message for the run besides.
        assert valkey.keys("products:sync:enqueued:*") == []
        assert open_queue(valkey).count == 0
        send_tick(valkey)
        until(lambda: ticks(worker, "skipped") == 1)
        assert states(rows) == [("schedule", "succeeded", 1)]
        assert (ticks(worker, "claimed"), runs(worker, "succeeded"), runs(worker, "skipped")) == (1, 1, 0)

    def test_it_is_skipped_while_a_run_is_active_elsewhere(
        self, launch: Launch, rows: Rows, valkey: "redis.Redis", feed: Feed
    ) -> None:
        first, gate = start_tick(launch, valkey, feed, SYNC_INTERVAL_MINUTES="1")
        # The slot is over, so that only the active run is in the way.
        rows.execute("UPDATE sync.runs SET slot = slot - 1")
        second = launch("work", SYNC_INTERVAL_MINUTES="1")
        send_tick(valkey)
        until(lambda: second.healthy() and ticks(second, "skipped") == 1)
        assert states(rows) == [("schedule", "running", 1)]
        gate.opened.set()
        until(lambda: runs(first, "succeeded") == 1)
        assert (ticks(first, "claimed"), runs(second, "succeeded"), runs(second, "skipped")) == (1, 0, 0)
        send_tick(valkey)
        until(lambda: ticks(first, "claimed") + ticks(second, "claimed") == 2)
        until(lambda: states(rows)[1:] == [("schedule", "succeeded", 1)])

    def test_a_killed_one_has_claimed_its_slot_and_the_run_goes_on(
        self, launch: Launch, rows: Rows, valkey: "redis.Redis", products: Rows, feed: Feed
    ) -> None:
        worker, gate = start_tick(launch, valkey, feed)
        horse(worker).kill()
        gate.opened.set()
        until(lambda: runs(worker, "killed") == 1)
        assert (ticks(worker, "claimed"), ticks(worker, "failed")) == (1, 0)
        launch("schedule")
        until(lambda: states(rows) == [("schedule", "succeeded", 2)])
        assert len(names(products)) == 194
        assert ticks(worker, "claimed") == 1

    def test_a_worker_that_has_to_end_passes_its_run_on(
        self, launch: Launch, rows: Rows, valkey: "redis.Redis", feed: Feed
    ) -> None:
        worker, gate = start_tick(launch, valkey, feed)
        worker.process.terminate()
        until(worker.ended)
        assert states(rows) == [("schedule", "queued", 1)]
        gate.opened.set()
        # No scheduler runs here: the message was sent.
        launch("work")
        until(lambda: states(rows) == [("schedule", "succeeded", 2)])


class TestOtherReleases:
    def test_a_tick_of_release_0_2_has_the_time_of_a_run(self, valkey: "redis.Redis") -> None:
        """There it only claimed the slot, in 75 s at most; it stays in Redis as it was scheduled."""
        send_tick(valkey, job_timeout=75)
        found = SafeJob.fetch("tick-dummyjson", connection=valkey)
        assert (found.func_name, found.timeout) == ("sync.jobs.tick", timings.JOB_LIMIT)
