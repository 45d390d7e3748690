"""Redis clients with short time limits: no request waits long for Redis."""

from typing import Any

import redis.exceptions
from redis.asyncio import BlockingConnectionPool, Redis

from common import loop_clock
from common.settings import ServiceSettings

__all__ = ["connect"]


class _Client(Redis):
    """Ends each command in time, connecting and waiting for a free connection included."""

    seconds = 0.4

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            async with loop_clock.timeout(self.seconds):
                return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except TimeoutError:
            raise redis.exceptions.TimeoutError("Redis does not answer") from None


def connect(settings: ServiceSettings) -> Redis:
    """A client whose commands take at most 0.4 s each, by `loop_clock`."""
    pool = BlockingConnectionPool.from_url(
        settings.redis_url.get_secret_value(),
        # Limits of the driver would also count the time in which this process is late.
        socket_timeout=None,
        socket_connect_timeout=None,
        health_check_interval=15,
        # A burst waits for a connection; the plain pool would raise an error when all are in use.
        max_connections=16,
        timeout=None,
    )
    return _Client.from_pool(pool)
