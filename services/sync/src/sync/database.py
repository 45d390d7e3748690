"""PostgreSQL for worker and scheduler."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg

from common.postgres import Postgres
from sync import timings
from sync.settings import SyncSettings

__all__ = ["connect", "retry_while_unavailable"]

T = TypeVar("T")


def connect(settings: SyncSettings, application: str) -> Postgres:
    """One connection, to be opened, for statements that each take at most `timings.STATEMENT` seconds."""
    return Postgres(settings, application=application, pool_size=1, max_wait=timings.STATEMENT)


async def retry_while_unavailable(query: Callable[[], Awaitable[T]]) -> T:
    """The answer to `query`, asked again for `timings.RETRY` seconds while PostgreSQL or its schema is not there."""
    give_up = time.monotonic() + timings.RETRY
    while True:
        try:
            return await query()
        except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
            if time.monotonic() > give_up:
                raise
            await asyncio.sleep(0.5)
