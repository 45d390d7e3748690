"""Processes whose clocks are an hour off: leases and slots go by the database's clock, and waits by monotonic ones."""

import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sync.queue import tick_id
from sync.states import ACTIVE
from tests.fixtures.waiting import until
from tests.integration.sync.conftest import Feed, Gate, Launch
from tests.integration.sync.test_worker import Rows, run, state

# Python runs it before everything else. Results are plain datetimes, so that only the reading of the clock differs.
SITECUSTOMIZE = """
import datetime, os, time

shift, real, clock = float(os.environ["CLOCK_SHIFT"]), datetime.datetime, time.time
time.time = lambda: clock() + shift
time.time_ns = lambda: int((clock() + shift) * 1e9)


class Kind(type):
    def __instancecheck__(cls, instance):
        return isinstance(instance, real)


class Shifted(real, metaclass=Kind):
    @classmethod
    def now(cls, tz=None):
        return real.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls):
        return real.fromtimestamp(time.time(), datetime.timezone.utc).replace(tzinfo=None)


datetime.datetime = Shifted
"""
HOUR = 3600


@pytest.fixture
def skewed(tmp_path: Path) -> Any:
    """The environment of a process whose clock is off by so many seconds."""
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    return lambda seconds: {"PYTHONPATH": str(tmp_path), "CLOCK_SHIFT": str(seconds)}


@pytest.mark.parametrize("shift", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_a_run_is_neither_stolen_nor_stuck(launch: Launch, rows: Rows, feed: Feed, skewed: Any, shift: int) -> None:
    """The worker's clock is off by an hour to one side, the scheduler's to the other."""
    gate = Gate(100)
    feed.before = gate
    worker = launch("work", **skewed(shift))
    launch("schedule", **skewed(-shift))
    assert gate.reached.wait(30)
    (run_id,) = rows.execute("SELECT id FROM sync.runs").fetchone()  # type: ignore[misc]
    began = run(rows, run_id)["heartbeat_at"]
    until(lambda: run(rows, run_id)["heartbeat_at"] > began + timedelta(seconds=2), 30)
    (left,) = rows.execute("SELECT extract(epoch FROM lease_until - now())::float FROM sync.runs").fetchone()  # type: ignore[misc]
    assert 0 < left <= 10
    # The proof that its clock is off indeed.
    stamps = [line["time"] for line in worker.lines()]
    assert stamps
    assert abs(_epoch(stamps[-1]) - time.time() - shift) < 600
    gate.opened.set()
    until(lambda: state(rows, run_id) not in ACTIVE, 30)
    done = run(rows, run_id)
    assert (done["state"], done["attempt"], done["fetched"]) == ("succeeded", 1, 194), done["error"]


def test_ticks_go_on_after_a_clock_was_set_back(
    launch: Launch, rows: Rows, valkey: Any, feed: Feed, skewed: Any
) -> None:
    before = launch("schedule", SYNC_INTERVAL_MINUTES="1")
    key, entry = "rq:scheduler:scheduled_jobs", tick_id("dummyjson")
    until(lambda: valkey.zscore(key, entry))
    before.process.terminate()
    before.process.wait(10)
    launch("schedule", SYNC_INTERVAL_MINUTES="1", **skewed(-HOUR))
    until(lambda: valkey.zscore(key, entry) <= time.time() - HOUR + 60, 20)


def _epoch(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
