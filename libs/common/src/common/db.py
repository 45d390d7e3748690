"""PostgreSQL: one engine for writes, one pool for hot reads, and deadlines that hold when it freezes."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any, Self

import psycopg
import sqlalchemy.exc
from fastapi import Depends, Request
from psycopg import AsyncConnection, waiting
from psycopg.abc import Loader, PQGen
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from common import context, tracing
from common.settings import ServiceSettings

__all__ = ["Connection", "Database", "ReadSession", "WriteSession", "dependency_failed", "value_refused"]

# Outside a request (jobs, start-up) no single wait may take longer.
DEFAULT_WAIT = 30.0
SESSION = {
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "60s",
    # One statement takes one core at most.
    "max_parallel_workers_per_gather": "0",
    "timezone": "UTC",
}
# How often a wait looks whether it has taken too long.
CHECK_SECONDS = 0.05


class Connection(AsyncConnection[Any]):
    """A psycopg connection whose waits end at the request's deadline even if the server is frozen.

    psycopg's own cancellation asks the server and waits for its answer, which takes 10 s and more when
    there is none; here an overdue connection is dropped at once and the server's statement_timeout ends the rest.
    """

    pulse: "Pulse"

    @classmethod
    async def connect(cls, conninfo: str = "", *, pulse: "Pulse", **options: Any) -> Self:  # type: ignore[override]
        """A connection of this process; `pulse` hears of it, and of what the server said if there is none."""
        try:
            connection = await super().connect(conninfo, **options)
        except psycopg.OperationalError as error:
            pulse.refused = error
            raise
        connection.pulse, pulse.refused = pulse, None
        pulse.answered = asyncio.get_running_loop().time()
        return connection

    async def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Drive one exchange with the server; raises OperationalError at the deadline."""
        try:
            value = await waiting.wait_async(self.pulse.watched(gen), self.pgconn.socket, interval=CHECK_SECONDS)
        except (_Silent, asyncio.CancelledError):
            self.pgconn.finish()
            raise
        self.pulse.answered = asyncio.get_running_loop().time()
        return value


class _Silent(psycopg.OperationalError):
    """The server did not answer in time."""


class Pulse:
    """When the server last answered any connection of this process."""

    answered = float("-inf")
    # Why the last attempt to connect failed, if it did.
    refused: psycopg.OperationalError | None = None

    def patience(self, waited: float = 0.0) -> float:
        return context.patience(max(0.0, DEFAULT_WAIT - waited), self.answered)

    def silent(self, asked: float, began: float) -> bool:
        """Whether a wait is to end, by a check that was `asked` for then; a late check is our own lateness."""
        now = asyncio.get_running_loop().time()
        context.forgive(now - asked - CHECK_SECONDS)
        return not self.patience(now - began)

    def watched(self, gen: PQGen[Any]) -> PQGen[Any]:
        """psycopg's exchange, given up when a check finds patience at its end."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            state = next(gen)
            while True:
                asked = clock()
                ready = yield state
                if not ready and self.silent(asked, began):
                    raise _Silent("PostgreSQL does not answer")
                state = gen.send(ready)
        except StopIteration as end:
            return end.value


class Database:
    """The connections of one process. Open on start, close on stop; cheap until first used."""

    def __init__(
        self, settings: ServiceSettings, *, application: str, loaders: Mapping[str, type[Loader]] | None = None
    ) -> None:
        """`loaders` by PostgreSQL type say how `fetch` reads values, where psycopg's own way is not wanted."""
        self._loaders = loaders or {}
        # A read that is known to be slow holds this, so that connections are left for the others.
        self.slow_reads = asyncio.Semaphore(1)
        self._pulse = Pulse()
        self._dsn = settings.database_url.get_secret_value()
        self._options: dict[str, Any] = {
            "pulse": self._pulse,
            "application_name": application,
            # 2 s is libpq's least. The server ends what we have given up on.
            "connect_timeout": 2,
            "options": " ".join(f"-c {name}={value}" for name, value in SESSION.items()),
            "keepalives_idle": 5,
            "tcp_user_timeout": 5000,
        }
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
            kwargs=self._options | {"autocommit": True, "prepare_threshold": 2},
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
        attempt = asyncio.ensure_future(Connection.connect(self._dsn, **self._options))
        began = asked = clock()
        try:
            while not (await asyncio.wait({attempt}, timeout=CHECK_SECONDS))[0]:
                if self._pulse.silent(asked, began):
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

    async def fetch(self, query: str, params: Sequence[Any] = ()) -> list[Any]:
        """Rows (tuples) of one statement, outside any transaction; tries anew on connections that died unused."""
        while True:
            try:
                async with self._pool.connection(timeout=min(0.6, self._pulse.patience())) as connection:
                    return await (await connection.execute(query, params)).fetchall()
            except (PoolTimeout, psycopg.OperationalError) as error:
                unused = isinstance(error, PoolTimeout) or (connection.closed and not isinstance(error, _Silent))
                if not unused or self._pulse.patience() < 0.02:
                    # The pool does not say why it has no connection.
                    if isinstance(error, PoolTimeout) and (said := self._pulse.refused):
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


def value_refused(error: BaseException) -> bool:
    """Whether PostgreSQL refused a value that our own checks let through (NUL in imported text, say)."""
    return isinstance(_cause(error), psycopg.DataError)


def _cause(error: BaseException) -> BaseException:
    return (isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig) or error
