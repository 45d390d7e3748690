"""Redis clients with short time-outs: no request waits long for Redis."""

from redis.asyncio import BlockingConnectionPool, Redis

from common.settings import ServiceSettings

__all__ = ["connect"]


def connect(settings: ServiceSettings, *, seconds: float = 0.4) -> Redis:
    """A client whose connects and answers take at most `seconds` each."""
    # A burst waits for a connection: the plain pool would call Redis lost when all are in use.
    pool = BlockingConnectionPool.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        health_check_interval=15,
        max_connections=16,
        timeout=seconds,
    )
    return Redis.from_pool(pool)
