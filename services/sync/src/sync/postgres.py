"""PostgreSQL for worker and scheduler: one small connection instead of the pools that serve HTTP."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import psycopg
from psycopg import AsyncConnection, waiting
from psycopg.errors import _WaitTimeout

from common import tracing
from sync.settings import SyncSettings

__all__ = ["Fetch", "Postgres"]


class Fetch(Protocol):
    """What queries need: `Postgres` here, `Database` in the API. Each statement is a transaction."""

    async def fetch(self, query: str, params: Sequence[Any] = ()) -> list[Any]: ...


class _Connection(AsyncConnection[Any]):
    """Like common.web.database.Connection, without its imports: worker and scheduler must stay small."""

    seconds = 5.0

    async def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Drive one exchange with the server; a frozen server raises OperationalError after `seconds`."""
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=self.seconds)
        except _WaitTimeout:
            self.pgconn.finish()
            raise psycopg.OperationalError("PostgreSQL did not answer in time") from None
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise


class Postgres:
    """One connection, made when needed and anew when lost."""

    def __init__(self, settings: SyncSettings, *, application: str) -> None:
        self._dsn = settings.database_url.get_secret_value()
        self._application = application
        self._connection: _Connection | None = None
        self._lock = asyncio.Lock()

    async def fetch(self, query: str, params: Sequence[Any] = ()) -> list[Any]:
        """Rows (tuples) of one statement; raises psycopg.OperationalError after a few seconds at most.

        A connection that died unused is replaced, so a statement may run twice.
        """
        async with self._lock:
            fresh = await self._connect()
            try:
                return await self._execute(query, params)
            except psycopg.OperationalError:
                await self.close()
                if fresh:
                    raise
            await self._connect()
            return await self._execute(query, params)

    async def _connect(self) -> bool:
        if self._connection is not None and not self._connection.closed:
            return False
        try:
            async with asyncio.timeout(_Connection.seconds):
                self._connection = await _Connection.connect(
                    self._dsn,
                    autocommit=True,
                    application_name=self._application,
                    connect_timeout=2,
                    options="-c statement_timeout=5s -c timezone=UTC",
                    keepalives_idle=5,
                    tcp_user_timeout=5000,
                )
        except TimeoutError:
            raise psycopg.OperationalError("PostgreSQL did not answer in time") from None
        await tracing.instrument_connection(self._connection)
        return True

    async def _execute(self, query: str, params: Sequence[Any]) -> list[Any]:
        assert self._connection is not None
        cursor = await self._connection.execute(query, params)
        return await cursor.fetchall() if cursor.description else []

    async def close(self) -> None:
        """Give the connection back; the next fetch makes a new one."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
