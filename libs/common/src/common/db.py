"""PostgreSQL: one engine for writes, one pool for hot reads, and deadlines that hold when it freezes."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any

import psycopg
import sqlalchemy.exc
from fastapi import Depends, Request
from psycopg.abc import Loader
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from common import tracing
from common.connection import CHECK_SECONDS, Connection, Server, Silent
from common.settings import ServiceSettings

__all__ = ["Connection", "Database", "ReadSession", "WriteSession", "dependency_failed", "try_again", "value_refused"]

SESSION = {
    # The server ends what we have given up on, also after this process has died.
    "statement_timeout": "60s",
    "lock_timeout": "3s",
    "client_connection_check_interval": "1s",
    "idle_in_transaction_session_timeout": "60s",
    # One statement takes one core at most.
    "max_parallel_workers_per_gather": "0",
    "timezone": "UTC",
}
# A read outside a transaction is part of a public request, which takes no longer.
READING = SESSION | {"statement_timeout": "5s"}


class Database:
    """The connections of one process. Open on start, close on stop; cheap until first used."""

    def __init__(
        self, settings: ServiceSettings, *, application: str, loaders: Mapping[str, type[Loader]] | None = None
    ) -> None:
        """`loaders` by PostgreSQL type say how `fetch` reads values, where psycopg's own way is not wanted."""
        self._loaders = loaders or {}
        # A read that is known to be slow holds this, so that connections are left for the others.
        self.slow_reads = asyncio.Semaphore(1)
        self._dsn = settings.database_url.get_secret_value()
        # 2 s is libpq's least.
        options: dict[str, Any] = {"connect_timeout": 2, "keepalives_idle": 5, "tcp_user_timeout": 5000}
        options["application_name"] = application
        self._server = Server(self._dsn, 2 * settings.db_pool_size, options | _session(READING))
        self._options: dict[str, Any] = options | {"server": self._server}
        self.engine: AsyncEngine = create_async_engine(
            settings.sqlalchemy_url,
            async_creator=self._connect,
            pool_size=settings.db_pool_size,
            max_overflow=0,
            # Silence ends the wait of those who hold connections, and so soon that of those who wait for one.
            pool_timeout=5,
            pool_pre_ping=True,
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self._pool = AsyncConnectionPool(
            self._dsn,
            connection_class=Connection,
            kwargs=self._options | _session(READING) | {"autocommit": True, "prepare_threshold": 2},
            configure=self._configure,
            min_size=1,
            max_size=settings.db_pool_size,
            max_idle=120,
            # A short give-up keeps its back-off short, so service is back at once when the server is.
            reconnect_timeout=2,
            open=False,
        )

    async def _connect(self) -> Connection:
        clock = asyncio.get_running_loop().time
        attempt = asyncio.ensure_future(Connection.connect(self._dsn, **self._options | _session(SESSION)))
        began = asked = clock()
        try:
            while not (await asyncio.wait({attempt}, timeout=CHECK_SECONDS))[0]:
                if self._server.silent(asked, began):
                    raise TimeoutError("PostgreSQL takes no connection")
                asked = clock()
        finally:
            attempt.cancel()
        connection = attempt.result()
        await tracing.instrument_connection(connection)
        return connection

    async def _configure(self, connection: Connection) -> None:
        for kind, loader in self._loaders.items():
            connection.adapters.register_loader(kind, loader)
        await tracing.instrument_connection(connection)

    async def open(self) -> None:
        """Start connecting in the background; a server that is not there yet stops nothing."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close(timeout=2)
        await self.engine.dispose()
        await self._server.close()

    async def fetch(self, query: str, params: Sequence[Any] = ()) -> list[Any]:
        """Rows (tuples) of one statement, outside any transaction; tries anew on connections that died unused."""
        while True:
            try:
                async with self._pool.connection(timeout=min(0.6, self._server.patience())) as connection:
                    return await (await connection.execute(query, params)).fetchall()
            except (PoolTimeout, psycopg.OperationalError) as error:
                unused = isinstance(error, PoolTimeout) or (connection.closed and not isinstance(error, Silent))
                if not unused or self._server.patience() < 0.02:
                    # The pool does not say why it has no connection.
                    if isinstance(error, PoolTimeout) and (said := self._server.refused):
                        raise psycopg.OperationalError(str(said)) from None
                    raise

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed at the end of the block, rolled back if it raises."""
        async with self._sessions() as session:
            yield session
            await session.commit()

    def reading(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A session outside transactions, for reads."""
        return self._sessions(bind=self.engine.execution_options(isolation_level="AUTOCOMMIT"))


def _session(settings: dict[str, str]) -> dict[str, str]:
    """The option of a connection that sets these settings."""
    return {"options": " ".join(f"-c {name}={value}" for name, value in settings.items())}


async def _write_session(request: Request) -> AsyncGenerator[AsyncSession]:
    async with request.state.db.session() as session:
        yield session


async def _read_session(request: Request) -> AsyncGenerator[AsyncSession]:
    async with request.state.db.reading() as session:
        yield session


# scope="function": the commit comes before the answer leaves, so a 2xx means committed.
WriteSession = Annotated[AsyncSession, Depends(_write_session, scope="function")]
ReadSession = Annotated[AsyncSession, Depends(_read_session, scope="function")]

_NOT_READY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InvalidSchemaName,
    PoolTimeout,
    sqlalchemy.exc.TimeoutError,
    TimeoutError,
    OSError,
)


def dependency_failed(error: BaseException) -> bool:
    """Whether `error` says that PostgreSQL cannot serve now (503), rather than a fault of ours (500)."""
    return isinstance(_cause(error), _NOT_READY)


def try_again(error: BaseException) -> str:
    """What a client is told when PostgreSQL cannot serve now."""
    cause = _cause(error)
    if isinstance(cause, psycopg.errors.LockNotAvailable | psycopg.errors.TransactionRollback):
        return "Another request is changing the same rows; try again."
    if isinstance(cause, psycopg.errors.QueryCanceled):
        return "This takes PostgreSQL too long now; try again, or ask for less."
    return "A dependency does not answer; try again."


def value_refused(error: BaseException) -> bool:
    """Whether PostgreSQL refused a value that our own checks let through (NUL in imported text, say)."""
    return isinstance(_cause(error), psycopg.DataError)


def _cause(error: BaseException) -> BaseException:
    return (isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig) or error
