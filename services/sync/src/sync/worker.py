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

import redis.exceptions
from prometheus_client import Counter, Histogram
from redis import Redis
from rq import Worker, worker_registration
from rq.exceptions import StopRequested
from rq.serializers import JSONSerializer

from common.diagnostics import describe
from sync import monitoring, timings
from sync.queue import QUEUE, RUN, TICK, SafeJob, SafeQueue, connect
from sync.results import JobEnded, Report, ReportPipe, RunResult, TickResult
from sync.settings import SyncSettings
from sync.shutdown import ShutdownFlag
from sync.states import Outcome, TickOutcome

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
    max_connection_wait_time = timings.RECONNECT

    def __init__(self, settings: SyncSettings, connection: Redis, shutdown: ShutdownFlag) -> None:
        super().__init__(
            [QUEUE],
            connection=connection,
            serializer=JSONSerializer,
            # A dequeue takes 15 s less.
            worker_ttl=timings.IDLE_HEARTBEAT + 15,
            job_monitoring_interval=timings.MONITORING,
            log_job_description=False,
        )
        self._settings = settings
        self._shutdown_flag = shutdown
        self._parent = os.getpid()
        self._reports: ReportPipe | None = None

    def check_for_suspension(self, burst: bool) -> None:
        """End if the signal came before RQ listened to it."""
        if self._shutdown_flag.requested:
            raise StopRequested

    def subscribe(self) -> None:
        """No remote commands: SIGTERM is how a worker is stopped."""

    def run_maintenance_tasks(self) -> None:
        """The scheduler's work; RQ's own trips over damaged entries, and unpickles what it finds in groups."""
        self.last_cleaned_at = datetime.now(UTC)  # type: ignore[assignment]

    def set_shutdown_requested_date(self) -> None:
        """Not stored: Redis may be away when the process has to end."""

    def request_stop(self, signum: int, frame: Any) -> None:
        self._shutdown_flag.requested = True
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def handle_warm_shutdown_request(self) -> None:
        """Let the job at hand finish its page and release its run."""
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
        self._reports = None
        try:
            super().execute_job(job, queue)
        finally:
            # None where Redis has gone before the fork.
            if self._reports:
                self._count(job, self._reports.receive(), time.monotonic() - began)

    def fork_work_horse(self, job: Any, queue: Any) -> None:
        self._reports = ReportPipe()
        super().fork_work_horse(job, queue)
        self._reports.close_writer()

    def main_work_horse(self, job: Any, queue: Any) -> None:
        """The child. It never outlives its parent: nobody would stop it, and its run is taken over."""
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self._parent:
            os._exit(1)
        super().main_work_horse(job, queue)

    def setup_work_horse_signals(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # The job listens when it is ready to; until then the signal waits.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def perform_job(self, job: Any, queue: Any, execution: Any) -> bool:
        assert self._reports
        job.reports = self._reports
        try:
            return super().perform_job(job, queue, execution)
        finally:
            self._reports.send(JobEnded())

    def _count(self, job: Any, reports: list[Report], seconds: float) -> None:
        """A job that sent no result was killed, or raised. A tick that claimed its slot has begun a run."""
        function = _function(job)
        tick = next((it for it in reports if isinstance(it, TickResult)), None)
        if function == TICK:
            source, outcome = (tick.source, tick.outcome) if tick else (self._settings.source, TickOutcome.FAILED)
            TICKS.labels(source, outcome).inc()
        if function == RUN or (tick and tick.outcome is TickOutcome.CLAIMED):
            run = next((it for it in reports if isinstance(it, RunResult)), None)
            ended = any(isinstance(it, JobEnded) for it in reports)
            self._count_run(run, Outcome.ERROR if ended else Outcome.KILLED, seconds)

    def _count_run(self, run: RunResult | None, without_result: Outcome, seconds: float) -> None:
        source = (run and run.source) or self._settings.source
        outcome = run.outcome if run else without_result
        RUNS.labels(source, outcome).inc()
        if outcome is not Outcome.SKIPPED:
            RUN_DURATION.labels(source).observe(seconds)
        if run and outcome is Outcome.SUCCEEDED:
            # Without their sum.
            for kind in set(run.counts.__struct_fields__) - {"fetched"}:
                ROWS.labels(source, kind).inc(getattr(run.counts, kind))


def _function(job: Any) -> str | None:
    try:
        return str(job.func_name)
    except Exception:
        return None


def work(settings: SyncSettings) -> None:
    """Work until SIGTERM or SIGINT; Redis may come late, go and come back."""
    for outcome in (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.KILLED):
        # So that the first failure is an increase.
        RUNS.labels(settings.source, outcome)
    shutdown = ShutdownFlag()
    shutdown.listen()
    with monitoring.serve(settings, "sync-worker", shutdown):
        pause = 0.25
        while not shutdown.requested:
            try:
                SyncWorker(settings, connect(settings), shutdown).work(logging_level="WARNING")
                pause = 0.25
            except redis.exceptions.RedisError as error:
                log.warning("Redis is away: %s", describe(error))
            finally:
                # RQ had them meanwhile.
                shutdown.listen()
            if not shutdown.requested:
                time.sleep(pause)
                pause = min(pause * 2, timings.RECONNECT)
