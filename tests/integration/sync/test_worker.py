"""Runs, done by real worker processes against a real catalog."""

import os
import signal
import time
from functools import partial
from random import Random
from time import sleep
from typing import Any
from uuid import UUID

import httpx
import psutil
import psycopg
import pytest
import redis
from prometheus_client import REGISTRY

from stack.servers.valkey import ValkeyServer
from sync import queue
from sync.queue import open_queue
from sync.shutdown import ShutdownFlag
from sync.states import ACTIVE
from sync.worker import SyncWorker
from tests.fixtures.otlp import receiving
from tests.fixtures.processes import Process
from tests.fixtures.waiting import until
from tests.integration.sync.conftest import Feed, Gate, Launch, Make, product

Rows = psycopg.Connection[Any]


def ask(rows: Rows, valkey: "redis.Redis", feed: Feed) -> UUID:
    """A queued run of the feed whose message was sent."""
    register = "INSERT INTO sync.sources (name, provider, url) VALUES ('dummyjson', 'dummyjson', %s)"
    rows.execute(f"{register} ON CONFLICT DO NOTHING", [feed.url])
    found = rows.execute("INSERT INTO sync.runs (source, trigger) VALUES ('dummyjson', 'manual') RETURNING id")
    run_id: UUID = found.fetchone()[0]  # type: ignore[index]
    queue.enqueue(valkey, run_id, 0)
    return run_id


def state(rows: Rows, run_id: UUID) -> str:
    return str(run(rows, run_id)["state"])


def run(rows: Rows, run_id: UUID) -> dict[str, Any]:
    cursor = rows.execute("SELECT * FROM sync.runs WHERE id = %s", [run_id])
    row = cursor.fetchone()
    assert row
    assert cursor.description
    return dict(zip((column.name for column in cursor.description), row, strict=True))


def names(products: Rows) -> dict[str, str]:
    found = products.execute("SELECT external_id, name FROM catalog.products WHERE source = 'dummyjson'")
    return dict(found.fetchall())


def horse(worker: Process) -> psutil.Process:
    """The process that does the job."""
    return psutil.Process(worker.process.pid).children()[0]


class TestRun:
    def test_194_products_from_message_to_end(
        self, launch: Launch, rows: Rows, valkey: Any, products: Rows, feed: Feed
    ) -> None:
        worker = launch("work")
        until(worker.healthy)
        began = time.monotonic()
        run_id = ask(rows, valkey, feed)
        until(lambda: state(rows, run_id) not in ACTIVE)
        seconds = time.monotonic() - began
        done = run(rows, run_id)
        assert done["state"] == "succeeded", done["error"]
        assert (done["fetched"], done["created"], done["rejected"], done["pages"]) == (194, 194, 0, 2)
        assert names(products) == {str(item["id"]): item["title"] for item in feed.products}
        print(f"194 products in {seconds:.2f} s")
        until(lambda: worker.figure('products_sync_runs_total{outcome="succeeded",source="dummyjson"}') == 1)
        assert worker.figure('products_sync_rows_total{kind="created",source="dummyjson"}') == 194
        assert worker.figure('products_sync_rows_total{kind="fetched",source="dummyjson"}') == 0
        assert worker.figure('products_sync_run_duration_seconds_count{source="dummyjson"}') == 1

    def test_a_proxy_is_not_for_calls_between_services(
        self, launch: Launch, rows: Rows, valkey: Any, products: Rows, feed: Feed
    ) -> None:
        """Nobody listens at the proxy, and it would see the secret with which sync gets its tokens."""
        proxy = "http://127.0.0.1:9"
        launch("work", HTTP_PROXY=proxy, http_proxy=proxy, ALL_PROXY=proxy)
        run_id = ask(rows, valkey, feed)
        until(lambda: state(rows, run_id) == "succeeded")

    def test_the_key_in_the_address_of_a_source_stays_in_the_process(
        self, launch: Launch, rows: Rows, valkey: Any, products: Rows, feed: Feed
    ) -> None:
        address = feed.url.replace("http://", "http://canary-user:canary-password@") + "?key=canary-key"
        with receiving() as receiver:
            worker = launch(
                "work",
                EXTERNAL_API_URL=address,
                OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
                LOG_LEVEL="debug",
            )
            run_id = ask(rows, valkey, feed)
            until(lambda: state(rows, run_id) == "succeeded")
            pages = until(lambda: [it for it in receiver.spans if feed.url in it.attributes])
        told = [*map(str, receiver.spans), worker.output(), str(run(rows, run_id))]
        told.append(httpx.get(f"{worker.metrics_url}/metrics").text)  # unchecked: metrics
        told.append(" ".join(psutil.Process(worker.process.pid).cmdline()))
        assert pages
        assert not [it for it in told if "canary" in it]

    def test_second_run_of_the_same_data_changes_nothing(
        self, launch: Launch, rows: Rows, valkey: Any, products: Rows, feed: Feed
    ) -> None:
        launch("work")
        first = ask(rows, valkey, feed)
        until(lambda: state(rows, first) == "succeeded")
        feed.products[7]["title"] = "Another"
        second = ask(rows, valkey, feed)
        until(lambda: state(rows, second) == "succeeded")
        done = run(rows, second)
        assert (done["created"], done["updated"], done["unchanged"]) == (0, 1, 193)
        assert names(products)["8"] == "Another"

    def test_a_record_that_is_no_product_is_kept_as_a_reject(
        self, launch: Launch, rows: Rows, valkey: Any, products: Rows, feed: Feed
    ) -> None:
        feed.products[3] = product(4, price="12,5")
        launch("work")
        run_id = ask(rows, valkey, feed)
        until(lambda: state(rows, run_id) == "succeeded")
        assert (run(rows, run_id)["fetched"], run(rows, run_id)["rejected"]) == (194, 1)
        assert "4" not in names(products)
        assert len(names(products)) == 193


class TestBadSource:
    def test_a_page_that_is_none_fails_the_run_and_touches_nothing(
        self, launch: Launch, rows: Rows, valkey: Any, products: Rows, feed: Feed
    ) -> None:
        launch("work")
        good = ask(rows, valkey, feed)
        until(lambda: state(rows, good) == "succeeded")
        before = names(products)
        feed.fill(300)
        feed.before = lambda skip: (200, b"<html>Sorry</html>") if skip == 100 else None
        bad = ask(rows, valkey, feed)
        until(lambda: state(rows, bad) == "failed")
        failed = run(rows, bad)
        assert failed["error"].startswith("page 2: ProviderAnswerInvalid: ")
        assert (failed["pages"], failed["fetched"], failed["created"]) == (1, 100, 0)
        assert names(products) == before
        feed.before = lambda skip: None
        healed = ask(rows, valkey, feed)
        until(lambda: state(rows, healed) == "succeeded")
        assert len(names(products)) == 300

    def test_more_than_a_tenth_of_rejects_merges_nothing(
        self, launch: Launch, rows: Rows, valkey: Any, products: Rows, feed: Feed
    ) -> None:
        feed.products = [product(number, price=-1 if number <= 21 else 5) for number in range(1, 201)]
        worker = launch("work")
        run_id = ask(rows, valkey, feed)
        until(lambda: state(rows, run_id) == "failed")
        assert run(rows, run_id)["error"] == "21 of 200 records are unusable: nothing was merged"
        assert names(products) == {}
        until(lambda: worker.figure('products_sync_runs_total{outcome="failed",source="dummyjson"}') == 1)
        feed.products[0] = product(1)
        run_id = ask(rows, valkey, feed)
        until(lambda: state(rows, run_id) == "succeeded")
        assert len(names(products)) == 180


class TestCrash:
    def test_killed_workers_are_replaced_within_15_s_from_the_last_staged_page(
        self, launch: Launch, rows: Rows, valkey: Any, products: Rows, feed: Feed
    ) -> None:
        feed.fill(3000)
        launch("schedule")
        worker = launch("work")
        gates = [Gate(400), Gate(1300), Gate(2900)]
        feed.before = lambda skip: next((gate(skip) for gate in gates if gate.at == skip), None)
        until(lambda: rows.execute("SELECT count(*) FROM sync.runs").fetchone() == (1,))
        (run_id,) = rows.execute("SELECT id FROM sync.runs").fetchone()  # type: ignore[misc]
        for gate in gates:
            assert gate.reached.wait(30)
            child = horse(worker)
            worker.process.kill()
            killed = time.monotonic()
            until(partial(gone, child), 2)
            asked = len(feed.asked)
            gate.opened.set()
            worker = launch("work")
            until(partial(feed.asked_more_than, asked), 20)
            taken = time.monotonic() - killed
            print(f"taken over after {taken:.1f} s")
            assert taken < 60
            assert feed.asked[asked] == gate.at
        until(lambda: state(rows, run_id) == "succeeded", 30)
        done = run(rows, run_id)
        assert (done["attempt"], done["fetched"], done["created"], done["pages"]) == (4, 3000, 3000, 31)
        assert names(products) == {str(item["id"]): item["title"] for item in feed.products}

    @pytest.mark.chaos
    def test_kills_at_random_instants_lose_and_double_nothing(
        self, launch: Launch, rows: Rows, valkey: Any, products: Rows, feed: Feed
    ) -> None:
        """`KILLS=100 make chaos` for a longer one."""
        random = Random(1)
        feed.fill(5000)
        feed.before = lambda skip: sleep(0.03)  # the source's own time  # type: ignore[func-returns-value]
        launch("schedule")
        worker = launch("work")
        until(lambda: rows.execute("SELECT count(*) FROM sync.runs").fetchone() == (1,))
        for _ in range(int(os.environ.get("KILLS", "15"))):
            until(lambda worker=worker: psutil.Process(worker.process.pid).children(), 30)  # type: ignore[misc]
            moment = time.monotonic() + random.uniform(0, 2)
            until(lambda moment=moment: time.monotonic() > moment)  # type: ignore[misc]
            for child in psutil.Process(worker.process.pid).children()[: random.choice((0, 1, 1))]:
                child.kill()
            if random.random() < 0.7:
                worker.process.kill()
                worker.process.wait()
                worker = launch("work")
            if (
                rows.execute("SELECT 1 FROM sync.runs WHERE state IN ('queued', 'running', 'applying')").fetchone()
                is None
            ):
                ask(rows, valkey, feed)
        until(lambda: rows.execute("SELECT 1 FROM sync.runs WHERE state <> 'succeeded'").fetchone() is None, 60)
        assert names(products) == {str(item["id"]): item["title"] for item in feed.products}
        kept = "SELECT DISTINCT created + updated + unchanged FROM sync.runs"
        assert rows.execute(kept).fetchall() == [(5000,)]
        assert rows.execute("SELECT sum(created), sum(updated) FROM sync.runs").fetchone() == (5000, 0)

    def test_a_killed_job_is_counted_and_done_again(
        self, launch: Launch, rows: Rows, valkey: Any, products: Rows, feed: Feed
    ) -> None:
        gate = Gate(100)
        feed.before = gate
        launch("schedule")
        worker = launch("work")
        assert gate.reached.wait(30)
        horse(worker).kill()
        gate.opened.set()
        until(lambda: worker.figure('products_sync_runs_total{outcome="killed",source="dummyjson"}') == 1)
        until(lambda: len(names(products)) == 194, 20)
        assert worker.process.poll() is None

    def test_a_frozen_worker_that_wakes_up_touches_nothing(
        self, launch: Launch, rows: Rows, valkey: Any, products: Rows, feed: Feed
    ) -> None:
        gate = Gate(100)
        feed.before = gate
        launch("schedule")
        frozen = launch("work")
        assert gate.reached.wait(30)
        (run_id,) = rows.execute("SELECT id FROM sync.runs").fetchone()  # type: ignore[misc]
        child = horse(frozen)
        frozen.process.send_signal(signal.SIGSTOP)
        child.suspend()
        gate.opened.set()
        launch("work")
        until(lambda: state(rows, run_id) == "succeeded", 30)
        done = run(rows, run_id)
        child.resume()
        frozen.process.send_signal(signal.SIGCONT)
        until(lambda: any(line["message"] == "run lost" for line in frozen.lines()))
        assert run(rows, run_id) == done
        assert done["attempt"] == 2
        assert len(names(products)) == 194

    def test_sigterm_in_mid_run_hands_it_back(
        self, launch: Launch, rows: Rows, valkey: Any, products: Rows, feed: Feed
    ) -> None:
        gate = Gate(100)
        feed.before = gate
        worker = launch("work")
        run_id = ask(rows, valkey, feed)
        assert gate.reached.wait(30)
        worker.process.terminate()
        began = time.monotonic()
        until(lambda: worker.process.poll() is not None, 10)
        print(f"gone after {time.monotonic() - began:.1f} s")
        assert worker.process.returncode == 0
        assert state(rows, run_id) == "queued"
        assert run(rows, run_id)["pages"] == 1
        gate.opened.set()
        # No scheduler runs here: the word was passed on.
        launch("work")
        until(lambda: state(rows, run_id) == "succeeded", 10)
        assert run(rows, run_id)["attempt"] == 2
        assert feed.asked == [0, 100, 100]

    def test_an_idle_worker_ends_at_once(self, launch: Launch) -> None:
        worker = launch("work")
        until(worker.healthy)
        worker.process.terminate()
        until(lambda: worker.process.poll() is not None, 3)
        assert worker.process.returncode == 0


class TestWithoutRedis:
    def test_worker_and_scheduler_start_before_redis_and_survive_it(
        self, launch: Launch, rows: Rows, own_valkey: ValkeyServer
    ) -> None:
        processes = [launch(command, REDIS_URL=own_valkey.url()) for command in ("work", "schedule")]
        for process in processes:
            until(process.live)
            health = httpx.get(f"{process.metrics_url}/health")  # unchecked: a worker's
            assert health.status_code == 503
            assert health.json()["checks"]["redis"]["status"] == "failed"
            assert health.json()["checks"]["postgres"]["status"] == "ok"
        with own_valkey:
            until(lambda: all(process.healthy() for process in processes), 5)
            until(lambda: rows.execute("SELECT state FROM sync.runs").fetchall() == [("succeeded",)], 10)
        until(lambda: not any(process.healthy() for process in processes), 5)
        rows.execute("INSERT INTO sync.runs (source, trigger) VALUES ('dummyjson', 'manual')")
        with own_valkey:
            until(
                lambda: rows.execute("SELECT count(*) FROM sync.runs WHERE state = 'succeeded'").fetchone() == (2,), 10
            )
        assert [process.process.poll() for process in processes] == [None, None]

    def test_a_run_does_not_need_redis_once_it_has_begun(
        self, launch: Launch, rows: Rows, feed: Feed, own_valkey: ValkeyServer
    ) -> None:
        gate = Gate(100)
        feed.before = gate
        with own_valkey:
            worker = launch("work", REDIS_URL=own_valkey.url())
            until(worker.healthy)
            with redis.Redis.from_url(own_valkey.url()) as valkey:
                run_id = ask(rows, valkey, feed)
            assert gate.reached.wait(10)
        gate.opened.set()
        until(lambda: state(rows, run_id) == "succeeded")
        until(lambda: worker.figure('products_sync_runs_total{outcome="succeeded",source="dummyjson"}') == 1)
        assert worker.process.poll() is None

    def test_a_worker_whose_redis_goes_before_the_fork_does_not_hang(
        self, settings_of: Make, own_valkey: ValkeyServer
    ) -> None:
        with own_valkey:
            connection = queue.connect(settings_of(redis_url=own_valkey.url()))
            worker = SyncWorker(settings_of(redis_url=own_valkey.url()), connection, ShutdownFlag())
            job = open_queue(connection).enqueue("sync.jobs.run", "x")
        killed = {"source": "dummyjson", "outcome": "killed"}
        before = REGISTRY.get_sample_value("products_sync_runs_total", killed)
        with pytest.raises(redis.exceptions.ConnectionError):
            worker.execute_job(job, open_queue(connection))
        assert REGISTRY.get_sample_value("products_sync_runs_total", killed) == before


class TestHealth:
    def test_jobs_leave_the_connection_of_their_worker_alone(
        self, launch: Launch, rows: Rows, valkey: Any, feed: Feed
    ) -> None:
        """A job is a fork, and the connection that answers /health lives on in both processes."""
        gate = Gate(100)
        worker = launch("work")
        until(worker.healthy)
        (before,) = backends(rows)
        ended = ask(rows, valkey, feed)
        until(lambda: state(rows, ended) == "succeeded")
        feed.before = gate
        ask(rows, valkey, feed)
        assert gate.reached.wait(30)
        assert before in backends(rows)
        assert len(backends(rows)) == 2
        horse(worker).kill()
        gate.opened.set()
        until(lambda: worker.figure('products_sync_runs_total{outcome="killed",source="dummyjson"}') == 1)
        until(worker.healthy)
        until(lambda: backends(rows) == {before})


def backends(rows: Rows) -> set[int]:
    """The worker's connections in PostgreSQL."""
    found = rows.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'sync-worker'")
    return {pid for (pid,) in found.fetchall()}


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
