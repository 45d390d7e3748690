"""RQ's queue as sync uses it. A message carries the id of a run or the name of a source, and nothing else.

Who can write to Redis must not be able to run code here: payloads are JSON, never pickle, whatever the sender chose,
and only the functions in `ALLOWED` are ever imported.
"""

import logging
from typing import Any
from uuid import UUID

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq import Queue
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job
from rq.serializers import JSONSerializer

from sync import timings
from sync.results import ReportPipe
from sync.settings import SyncSettings

__all__ = [
    "ALLOWED",
    "QUEUE",
    "RUN",
    "TICK",
    "SafeJob",
    "SafeQueue",
    "connect",
    "enqueue",
    "notify",
    "open_queue",
    "tick_id",
]

log = logging.getLogger(__name__)

QUEUE = "sync"
# Also in messages that another release has sent, so these names stay.
RUN = "sync.jobs.run"
TICK = "sync.jobs.tick"
ALLOWED = frozenset({RUN, TICK})
_DEDUP = "products:sync:enqueued:"


class NotAllowed(Exception):
    """A job that none of us has put there."""


class SafeJob(Job):
    """A job whose payload is JSON, whose function is one of ours, and whose time limit is ours."""

    reports: ReportPipe
    """To the worker that forked the job, from within the job."""

    def __init__(self, id: str | None = None, connection: Any = None, serializer: Any = None) -> None:
        super().__init__(id, connection, JSONSerializer)

    @property
    def func(self) -> Any:
        if self.instance is not None or self.func_name not in ALLOWED:
            raise NotAllowed(f"{self.func_name!r} is not a job of sync")
        return super().func

    def restore(self, raw_data: Any) -> Any:
        """Read the job from Redis, except what would call functions, send requests or wait for other jobs."""
        super().restore(raw_data)
        self._success_callback_name = self._failure_callback_name = self._stopped_callback_name = None
        self.webhooks = []
        self._dependency_ids = []
        self.group_id = self.rate_limit_key = self.repeats_left = self.retries_left = None
        self.failure_ttl = timings.FAILURE
        # A tick of a release in which it did not do the run has less.
        self.timeout = timings.JOB_LIMIT


class SafeQueue(Queue):
    """A queue whose damaged jobs are thrown away instead of ending the worker."""

    job_class = SafeJob

    @classmethod
    def _fetch_dequeued_job(
        cls, connection: Redis, queue_key: str, job_id: str, *args: Any, **options: Any
    ) -> tuple[Job, Queue] | None:
        try:
            return super()._fetch_dequeued_job(connection, queue_key, job_id, *args, **options)
        except RedisError:
            raise
        except Exception as error:
            log.error("a damaged job was thrown away: %s", type(error).__name__)
            connection.delete(SafeJob.key_for(job_id))
            connection.lrem(IntermediateQueue.get_intermediate_queue_key(queue_key), 0, job_id)
            return None


def connect(settings: SyncSettings, *, seconds: float = 2.0) -> Redis:
    """A client for RQ, which is not async; it tries each command once."""
    return Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        health_check_interval=15,
        retry=Retry(NoBackoff(), 0),
    )


def open_queue(connection: Redis) -> SafeQueue:
    return SafeQueue(QUEUE, connection=connection, job_class=SafeJob, serializer=JSONSerializer)


def tick_id(source: str) -> str:
    """The id of a source's one entry in the schedule, and of the job that it enqueues."""
    return f"tick-{source}"


def enqueue(connection: Redis, run_id: UUID, attempt: int) -> bool:
    """Send the message that a run needs a worker; False if it was just sent or still waits in the queue."""
    job_id = f"run-{run_id.hex}-{attempt}"
    if not connection.set(_DEDUP + job_id, 1, nx=True, ex=timings.DEDUP):
        return False
    queue = open_queue(connection)
    if queue.get_job_position(job_id) is not None:
        return False
    job = SafeJob.create(
        RUN,
        args=[run_id.hex],
        id=job_id,
        connection=connection,
        timeout=timings.JOB_LIMIT,
        result_ttl=timings.RESULT,
        failure_ttl=timings.FAILURE,
    )
    queue.enqueue_job(job)
    return True


def notify(settings: SyncSettings, run_id: UUID, attempt: int) -> None:
    """Enqueue a run if Redis is there. Where it is not, the scheduler does it as soon as it is back."""
    try:
        with connect(settings) as connection:
            enqueue(connection, run_id, attempt)
    except RedisError as error:
        log.warning("cannot enqueue a run: %s", type(error).__name__, extra={"run_id": str(run_id)})
