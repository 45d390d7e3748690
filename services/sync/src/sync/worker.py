"""The RQ worker: it forks a process per job, outlives Redis, and counts what its children did."""

import contextlib
import ctypes
import logging
import os
import signal
import sys
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import redis.exceptions
from prometheus_client import Counter, Histogram
from redis import Redis
from rq import Worker, worker_registration
from rq.exceptions import StopRequested
from rq.serializers import JSONSerializer

from common import metrics
from common.diagnostics import describe
from sync import probes
from sync.queue import QUEUE, RUN, TICK, SafeJob, SafeQueue, connect
from sync.settings import SyncSettings
from sync.stop import Stop

__all__ = ["SyncWorker", "work"]

log = logging.getLogger(__name__)

RUNS = Counter("products_sync_runs", "Parts that this worker had in runs, by how they ended.", ["source", "outcome"])
ROWS = Counter("products_sync_rows", "Records of succeeded runs, by what became of them.", ["source", "kind"])
RUN_DURATION = Histogram(
    "products_sync_run_duration_seconds",
    "How long this worker worked on a run.",
    ["source"],
    buckets=(0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1500),
)
TICKS = Counter(
    "products_sync_ticks", "Ticks of the schedule that claimed their slot or were skipped.", ["source", "outcome"]
)

PR_SET_PDEATHSIG = 1


class SyncWorker(Worker):
    """One worker on queue `sync`. It does not listen to RQ's remote commands."""

    queue_class = SafeQueue
    job_class = SafeJob
    max_connection_wait_time = 2.0

    def __init__(self, settings: SyncSettings, connection: Redis, stop: Stop) -> None:
        # A dequeue takes worker_ttl - 15 s, so an idle worker is heard of every 5 s.
        super().__init__(
            [QUEUE],
            connection=connection,
            serializer=JSONSerializer,
            worker_ttl=20,
            job_monitoring_interval=3,
            log_job_description=False,
        )
        self._settings = settings
        self._stop = stop
        self._parent = os.getpid()
        self._report_from = self._report_to = -1

    def check_for_suspension(self, burst: bool) -> None:
        """End if the signal came before RQ listened to it."""
        if self._stop.requested:
            raise StopRequested

    def subscribe(self) -> None:
        """No remote commands: SIGTERM is how a worker is stopped."""

    def run_maintenance_tasks(self) -> None:
        """The scheduler's work; RQ's own trips over damaged entries, and unpickles what it finds in groups."""
        self.last_cleaned_at = datetime.now(UTC)  # type: ignore[assignment]

    def set_shutdown_requested_date(self) -> None:
        """Not told to Redis, which may be away when we have to end."""

    def request_stop(self, signum: int, frame: Any) -> None:
        self._stop.requested = True
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def handle_warm_shutdown_request(self) -> None:
        """Let the job at hand finish its page and hand its run back."""
        if self.horse_pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.horse_pid, signal.SIGTERM)

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        super().heartbeat(timeout, pipeline=pipeline)
        # Redis may have been emptied.
        worker_registration.register(self, pipeline)
        connection = self.connection if pipeline is None else pipeline
        connection.hset(self.key, mapping=self.serialize() | {"state": self.get_state()})

    def maintain_heartbeats(self, job: Any, execution: Any) -> None:
        try:
            super().maintain_heartbeats(job, execution)
        except redis.exceptions.RedisError as error:
            log.warning("Redis is away while a job runs: %s", type(error).__name__)

    def execute_job(self, job: Any, queue: Any) -> None:
        """Fork, wait, count."""
        began = time.monotonic()
        self._report_from, self._report_to = os.pipe()
        try:
            super().execute_job(job, queue)
        finally:
            with os.fdopen(self._report_from, "rb") as report:
                self._count(job, report.read(), time.monotonic() - began)

    def fork_work_horse(self, job: Any, queue: Any) -> None:
        super().fork_work_horse(job, queue)
        os.close(self._report_to)

    def main_work_horse(self, job: Any, queue: Any) -> None:
        """The child. It never outlives its parent: nobody would stop it, and its run is taken over."""
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self._parent:
            os._exit(1)
        os.close(self._report_from)
        super().main_work_horse(job, queue)

    def setup_work_horse_signals(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # The job listens when it is ready to; until then the signal waits.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def perform_job(self, job: Any, queue: Any, execution: Any) -> bool:
        try:
            return super().perform_job(job, queue, execution)
        finally:
            # Not by way of Redis, which may have gone meanwhile.
            os.write(self._report_to, msgspec.json.encode(job._result))

    def _count(self, job: Any, report: bytes, seconds: float) -> None:
        result = msgspec.json.decode(report) if report else None
        source = (result or {}).get("source") or self._settings.source
        function = _function(job)
        if function == TICK:
            TICKS.labels(source, result["tick"] if result else "failed").inc()
        elif function == RUN:
            outcome = result["outcome"] if result else "error" if report else "killed"
            RUNS.labels(source, outcome).inc()
            if outcome != "skipped":
                RUN_DURATION.labels(source).observe(seconds)
            if result and outcome == "succeeded":
                for kind, rows in result["counts"].items():
                    ROWS.labels(source, kind).inc(rows)


def _function(job: Any) -> str | None:
    try:
        return str(job.func_name)
    except Exception:
        return None


def work(settings: SyncSettings) -> None:
    """Work until SIGTERM or SIGINT; Redis may come late, go and come back."""
    stop = Stop()
    metrics.set_build_info("sync-worker")
    if settings.faults:
        from common import faults

        faults.install(settings.faults)
    for outcome in ("succeeded", "failed", "killed"):
        # So that the first failure is an increase.
        RUNS.labels(settings.source, outcome)
    checks = {"postgres": probes.schema_probe(settings), "redis": probes.redis_probe(connect(settings, seconds=0.8))}
    health = probes.Health("sync-worker", stop, checks)
    stop_metrics = metrics.serve(settings.host, settings.metrics_port, health.routes())
    pause = 0.25
    stop.listen()
    while not stop.requested:
        try:
            SyncWorker(settings, connect(settings), stop).work(logging_level="WARNING")
            pause = 0.25
        except redis.exceptions.RedisError as error:
            log.warning("Redis is away: %s", describe(error))
        finally:
            # RQ had them meanwhile.
            stop.listen()
        if not stop.requested:
            time.sleep(pause)
            pause = min(pause * 2, 2.0)
    stop_metrics()
