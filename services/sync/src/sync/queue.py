"""The doorbell: RQ jobs that carry only the id of a run.

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
from rq.job import Job
from rq.serializers import JSONSerializer

from sync.settings import SyncSettings

__all__ = [
    "ALLOWED",
    "QUEUE",
    "RUN",
    "SCHEDULERS",
    "TICK",
    "SafeJob",
    "SafeQueue",
    "connect",
    "open_queue",
    "ring",
    "tell",
    "tick_id",
]

log = logging.getLogger(__name__)

QUEUE = "sync"
RUN = "sync.jobs.run"
TICK = "sync.jobs.tick"
ALLOWED = frozenset({RUN, TICK})
# The run itself gives up after 25 minutes; this is for one that cannot.
RUN_SECONDS = 26 * 60
RESULT_SECONDS = 300
FAILURE_SECONDS = 3600
_RUNG = "products:sync:rung:"
# Scores are the times of the schedulers' last passes.
SCHEDULERS = "products:sync:schedulers"


class NotAllowed(Exception):
    """A job that none of us has put there."""


class SafeJob(Job):
    """A job whose payload is JSON and whose function is one of ours."""

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
        self.failure_ttl = FAILURE_SECONDS


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
            connection.delete(f"{Job.redis_job_namespace_prefix}{job_id}")
            connection.lrem(f"{queue_key}:intermediate", 0, job_id)
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
    """The one entry of a source in the schedule."""
    return f"tick-{source}"


def ring(connection: Redis, run_id: UUID, attempt: int) -> bool:
    """Tell a worker about a run, unless one was told within 3 s or the word still waits in the queue."""
    job_id = f"run-{run_id.hex}-{attempt}"
    if not connection.set(_RUNG + job_id, 1, nx=True, ex=3):
        return False
    queue = open_queue(connection)
    if queue.get_job_position(job_id) is not None:
        return False
    job = SafeJob.create(
        RUN,
        args=[run_id.hex],
        id=job_id,
        connection=connection,
        timeout=RUN_SECONDS,
        result_ttl=RESULT_SECONDS,
        failure_ttl=FAILURE_SECONDS,
    )
    queue.enqueue_job(job)
    return True


def tell(settings: SyncSettings, run_id: UUID, attempt: int) -> None:
    """Ring once, if Redis is there. Where it is not, the scheduler rings as soon as it is back."""
    try:
        with connect(settings) as connection:
            ring(connection, run_id, attempt)
    except RedisError as error:
        log.warning("cannot ring for a run: %s", type(error).__name__, extra={"run_id": str(run_id)})
