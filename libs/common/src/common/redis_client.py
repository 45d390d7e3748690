"""Redis clients with short time limits: no request waits long for Redis."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis.exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline

from common import loop_clock
from common.settings import ServiceSettings

__all__ = ["connect"]

# A command or a pipeline takes no longer, connecting and waiting for a free connection included.
SECONDS = 0.4


def connect(settings: ServiceSettings) -> Redis:
    """A client whose commands and pipelines take at most SECONDS each, by `loop_clock`."""
    # A burst waits for a connection: the plain pool would call Redis lost when all are in use.
    pool = BlockingConnectionPool.from_url(
        settings.redis_url.get_secret_value(),
        # Limits of the driver would also count the time in which this process is late.
        socket_timeout=None,
        socket_connect_timeout=None,
        health_check_interval=15,
        max_connections=16,
        timeout=None,
    )
    return _Client.from_pool(pool)


class _Client(Redis):
    async def execute_command(self, *args: Any, **options: Any) -> Any:
        async with _time_limit():
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _Pipeline(Pipeline):
    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        async with _time_limit():
            return await super().execute(raise_on_error)


@asynccontextmanager
async def _time_limit() -> AsyncIterator[None]:
    try:
        async with loop_clock.timeout(SECONDS):
            yield
    except TimeoutError:
        raise redis.exceptions.TimeoutError("Redis does not answer") from None
