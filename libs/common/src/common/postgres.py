"""PostgreSQL with psycopg alone: pools of connections, and single statements."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self, TypeVar

import msgspec
import psycopg
from psycopg.abc import Loader
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row, tuple_row
from psycopg.sql import Composed
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from common import loop_clock, tracing
from common.connection import MAX_WAIT, Connection, Server, ServerUnresponsive
from common.settings import ServiceSettings

__all__ = ["TRANSACTION", "Postgres", "fetch_rows", "give_back"]

T = TypeVar("T")

TRANSACTION = {
    # The server ends statements that the client has given up, also after this process has died.
    "statement_timeout": "60s",
    "lock_timeout": "3s",
    "client_connection_check_interval": "1s",
    "idle_in_transaction_session_timeout": "60s",
    # One statement takes one core at most.
    "max_parallel_workers_per_gather": "0",
    "timezone": "UTC",
}
# A single read is part of a public request, which takes no longer. Its plan is the same for all parameters, so the plan
# of a prepared statement is kept: to plan a read of one product takes four times as long as to execute it.
_SINGLE_STATEMENT = TRANSACTION | {"statement_timeout": "5s", "plan_cache_mode": "force_generic_plan"}


class Postgres:
    """The PostgreSQL connections of one process. Open on start, close on stop; cheap until first used.

    A process has at most twice `pool_size` backends, and one more that checks whether a silent server is alive.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        application: str,
        pool_size: int | None = None,
        max_wait: float = MAX_WAIT,
        loaders: Mapping[str, type[Loader]] | None = None,
    ) -> None:
        """`pool_size` is `DB_POOL_SIZE` unless given; `max_wait` limits each wait outside a request, in seconds.

        `loaders` by PostgreSQL type replace psycopg's own way to read values in `fetch`.
        """
        self._loaders = loaders or {}
        self._dsn = settings.database_url.get_secret_value()
        size = pool_size or settings.db_pool_size
        # Requests give up earlier, by a clock that knows how late this process is.
        options: dict[str, Any] = {"connect_timeout": 5, "keepalives_idle": 5, "tcp_user_timeout": 5000}
        options["application_name"] = application
        self._server = Server(self._dsn, 2 * size, options | _session(_SINGLE_STATEMENT), max_wait=max_wait)
        self._options: dict[str, Any] = options | {"server": self._server}
        self._pools: list[AsyncConnectionPool[Connection]] = []
        self._pool = self._add_pool(size, _SINGLE_STATEMENT, min_size=1, autocommit=True)

    def _add_pool(
        self, size: int, settings: dict[str, str], *, min_size: int, autocommit: bool
    ) -> AsyncConnectionPool[Connection]:
        pool = AsyncConnectionPool(
            self._dsn,
            connection_class=Connection,
            kwargs=self._options | _session(settings) | {"autocommit": autocommit, "prepare_threshold": 2},
            configure=self._configure,
            min_size=min_size,
            max_size=size,
            max_idle=120,
            # A short time-out keeps the back-off short, so service is back at once when the server is.
            reconnect_timeout=2,
            open=False,
        )
        self._pools.append(pool)
        return pool

    async def open(self) -> None:
        """Start connecting in the background; a server that is not there yet stops nothing."""
        for pool in self._pools:
            await pool.open(wait=False)

    async def close(self) -> None:
        await asyncio.gather(*(pool.close(timeout=2) for pool in self._pools))
        await self._server.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def fetch(self, query: str | Composed, params: Sequence[Any] = ()) -> list[Any]:
        """Rows (tuples) of one statement, outside any transaction.

        It is tried again on a connection that died unused, and so may be done twice.
        """
        return await self._fetch(lambda connection: fetch_rows(connection, query, params))

    async def fetch_as(self, kind: type[T], query: str | Composed, params: Sequence[Any] = ()) -> list[T]:
        """As `fetch`, each row as a `kind`, a msgspec struct whose fields are named like the columns."""
        rows = await self._fetch(lambda connection: fetch_rows(connection, query, params, dict_row))
        return msgspec.convert(rows, list[kind])  # type: ignore[valid-type]

    async def fetch_each(self, query: str | Composed, params: Sequence[Sequence[Any]]) -> list[list[Any]]:
        """As `fetch`, the rows of one statement for each of `params`, all sent at once in a pipeline."""
        return await self._fetch(lambda connection: _pipelined(connection, query, params))

    @property
    def last_answered(self) -> float:
        """When PostgreSQL last answered this process, by `loop_clock.now`."""
        return self._server.last_answered

    async def _fetch(self, exchange: Callable[[Connection], Awaitable[T]]) -> T:
        connection, result = await self._take(self._pool, exchange)
        await self._pool.putconn(connection)
        return result

    async def _take(
        self, pool: AsyncConnectionPool[Connection], exchange: Callable[[Connection], Awaitable[T]]
    ) -> tuple[Connection, T]:
        """A connection of `pool`, for the caller to return, and the result of a first exchange on it.

        The exchange is tried again if its connection has died.
        """
        began = loop_clock.now()
        while True:
            connection: Connection | None = None
            try:
                time_left = self._server.time_left(loop_clock.now() - began)
                connection = await pool.getconn(timeout=min(0.6, time_left))
                try:
                    return connection, await exchange(connection)
                except BaseException:
                    await give_back(pool, connection)
                    raise
            except PoolTimeout:
                # The pool does not say why it has no connection.
                if refusal := self._server.refusal:
                    raise psycopg.OperationalError(str(refusal)) from None
                if self._server.time_left(loop_clock.now() - began) < 0.02:
                    raise
            except psycopg.OperationalError as error:
                lost = connection is not None and connection.closed and not isinstance(error, ServerUnresponsive)
                if not lost or self._server.time_left(loop_clock.now() - began) < 0.02:
                    raise

    async def connect(self) -> Connection:
        """A connection for transactions, outside the pool; raises TimeoutError when none is made in time."""
        began = loop_clock.now()
        try:
            async with loop_clock.timeout(lambda: self._server.time_left(loop_clock.now() - began)):
                connection = await Connection.connect(self._dsn, **self._options | _session(TRANSACTION))
        except TimeoutError:
            raise TimeoutError("PostgreSQL takes no connection") from None
        await tracing.instrument_connection(connection)
        return connection

    async def _configure(self, connection: Connection) -> None:
        for kind, loader in self._loaders.items():
            connection.adapters.register_loader(kind, loader)
        await tracing.instrument_connection(connection)


async def give_back(pool: AsyncConnectionPool[Connection], connection: Connection) -> None:
    """Return a connection to its pool. A transaction on it that is not over is rolled back."""
    try:
        if connection.pgconn.transaction_status != TransactionStatus.IDLE:
            with suppress(psycopg.Error):
                await connection.rollback()
    finally:
        await pool.putconn(connection)


async def fetch_rows(
    connection: Connection,
    query: str | Composed,
    params: Sequence[Any] | Mapping[str, Any],
    row_factory: Any = tuple_row,
) -> list[Any]:
    cursor = connection.cursor(row_factory=row_factory)
    return await (await cursor.execute(query, params)).fetchall()


async def _pipelined(connection: Connection, query: str | Composed, params: Sequence[Sequence[Any]]) -> list[Any]:
    if len(params) == 1:
        return [await fetch_rows(connection, query, params[0])]
    async with connection.pipeline():
        cursors = [await connection.execute(query, each) for each in params]
        return [await cursor.fetchall() for cursor in cursors]


def _session(settings: dict[str, str]) -> dict[str, str]:
    """The connection option that sets these settings."""
    return {"options": " ".join(f"-c {name}={value}" for name, value in settings.items())}
