"""Who can write to Redis gets nothing executed, and does not stop the worker."""

import json
import pickle
import zlib
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redis
from rq import Callback, Queue
from rq.job import Job

from sync.queue import SafeJob, connect, open_queue
from tests.fixtures.processes import Process
from tests.fixtures.waiting import until
from tests.integration.sync.conftest import Launch, Make

Rows = psycopg.Connection[Any]


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.fixture
def worker(launch: Launch) -> Process:
    process = launch("work", EXTERNAL_API_URL="http://127.0.0.1:1/products")
    until(process.healthy)
    return process


def works(worker: Process, valkey: "redis.Redis", rows: Rows) -> bool:
    """The worker has emptied its queue and still does a job: a tick."""
    ticks = worker.figure('products_sync_ticks_total{outcome="skipped",source="elsewhere"}')
    open_queue(valkey).enqueue("sync.jobs.tick", "elsewhere", job_id=f"tick-{uuid4().hex}")
    until(lambda: worker.figure('products_sync_ticks_total{outcome="skipped",source="elsewhere"}') > ticks)
    return open_queue(valkey).count == 0 and worker.process.poll() is None


class TestPoison:
    def test_pickled_jobs_are_not_loaded(
        self, worker: Process, valkey: "redis.Redis", rows: Rows, tmp_path: Path
    ) -> None:
        evil = pickle.dumps(Evil(tmp_path / "pickle"))
        Queue("sync", connection=valkey).enqueue("sync.jobs.run", Evil(tmp_path / "argument"))
        for field in ("data", "meta", "result"):
            name = uuid4().hex
            known: dict[Any, Any] = {
                "data": zlib.compress(json.dumps(["sync.jobs.tick", None, ["x"], {}]).encode()),
                "origin": "sync",
            }
            valkey.hset(f"rq:job:{name}", mapping={**known, field: evil})
            valkey.rpush("rq:queue:sync", name)
        assert works(worker, valkey, rows)
        assert list(tmp_path.glob("pickle")) == list(tmp_path.glob("argument")) == []

    @pytest.mark.parametrize(
        "function", ["os.mkdir", "sync.jobs.UUID", "sync.queue.notify", "builtins.eval", "nowhere.f"]
    )
    def test_foreign_functions_are_not_called(
        self, worker: Process, valkey: "redis.Redis", rows: Rows, tmp_path: Path, function: str
    ) -> None:
        target = tmp_path / "made"
        job = open_queue(valkey).enqueue(function, str(target))
        assert works(worker, valkey, rows)
        assert not target.exists()
        assert job.get_status() == "failed"
        assert worker.figure('products_sync_runs_total{outcome="error",source="dummyjson"}') == 0

    def test_callbacks_are_not_called(self, worker: Process, valkey: "redis.Redis", rows: Rows, tmp_path: Path) -> None:
        evil = Callback("sync.queue.notify")
        for function in ("sync.jobs.tick", "nowhere.f"):
            open_queue(valkey).enqueue(function, "x", on_success=evil, on_failure=evil, on_stopped=evil)
        assert works(worker, valkey, rows)
        assert not any("notify" in str(line.get("exception", "")) for line in worker.lines())

    def test_damaged_jobs_are_thrown_away(self, worker: Process, valkey: "redis.Redis", rows: Rows) -> None:
        good = json.dumps(["sync.jobs.tick", None, ["x"], {}]).encode()
        damages: list[dict[str, Any]] = [
            {"data": b"\xff"}, {"data": b"[]"}, {"data": b"7"}, {"status": b"so-so"}, {"created_at": b"yesterday"},
            {"timeout": b"long"}, {"result_ttl": b"x"}, {"dependency_ids": b"{"}, {"worker_name": b"\xff"},
        ]  # fmt: skip
        for damage in damages:
            name = uuid4().hex
            valkey.hset(f"rq:job:{name}", mapping={"data": good, "origin": b"sync"} | damage)
            valkey.rpush("rq:queue:sync", name)
        valkey.rpush("rq:queue:sync", "no such job", "bad id: !", b"\xff\xfe")
        assert works(worker, valkey, rows)

    def test_a_job_of_another_run_does_nothing(self, worker: Process, valkey: "redis.Redis", rows: Rows) -> None:
        open_queue(valkey).enqueue("sync.jobs.run", uuid4().hex)
        open_queue(valkey).enqueue("sync.jobs.run", "not an id")
        assert works(worker, valkey, rows)
        assert rows.execute("SELECT count(*) FROM sync.runs").fetchone() == (0,)


class TestSafeJob:
    def test_whatever_serializer_is_asked_for_it_is_json(self, valkey: "redis.Redis") -> None:
        for serializer in (None, "pickle", pickle):
            job = SafeJob.create("sync.jobs.run", args=["x"], connection=valkey, serializer=serializer)
            assert json.loads(job.data) == ["sync.jobs.run", None, ["x"], {}]

    def test_plain_rq_would_have_loaded_it(self, valkey: "redis.Redis", tmp_path: Path) -> None:
        """The trap is real: without this the tests above prove nothing."""
        Queue("other", connection=valkey).enqueue("os.getcwd", Evil(tmp_path / "pickle"), job_id="trap")
        assert Job.fetch("trap", connection=valkey).func_name == "os.getcwd"
        assert (tmp_path / "pickle").exists()

    def test_client_answers_or_fails_within_its_time(self, settings_of: Make) -> None:
        with pytest.raises(redis.exceptions.ConnectionError):
            connect(settings_of(redis_url="redis://127.0.0.1:1")).ping()
