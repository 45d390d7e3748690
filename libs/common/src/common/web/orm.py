"""Sessions of SQLAlchemy, for a service whose statements load entities."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any

import sqlalchemy.exc
from fastapi import Depends
from psycopg.types.json import set_json_dumps, set_json_loads
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

from common import loop_clock
from common.connection import Connection, Server
from common.json_encoding import dumps, loads
from common.postgres import Postgres
from common.settings import ServiceSettings
from common.web.state import StateRequest

__all__ = ["OrmDatabase", "ReadSession", "WriteSession"]

# How often a wait for a free connection of the engine looks whether it has time left.
POOL_CHECK_SECONDS = 0.2


class OrmDatabase(Postgres):
    """The connections of a service with sessions: the pool of `fetch`, and an engine, which needs no `open`."""

    def __init__(self, settings: ServiceSettings, **options: Any) -> None:
        super().__init__(settings, **options)
        self.engine: AsyncEngine = create_async_engine(
            settings.sqlalchemy_url,
            async_creator=self._connect,
            poolclass=_pool_class(self._server),
            pool_size=settings.db_pool_size,
            max_overflow=0,
            pool_timeout=POOL_CHECK_SECONDS,
            pool_pre_ping=True,
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    async def _connect(self) -> Connection:
        # For JSON and JSONB. SQLAlchemy's own `json_serializer` has no effect on connections that are made here.
        connection = await self.connect()
        set_json_dumps(dumps, connection)
        set_json_loads(loads, connection)
        return connection

    async def close(self) -> None:
        await self.engine.dispose()
        await super().close()

    @asynccontextmanager
    async def write_session(self) -> AsyncIterator[AsyncSession]:
        """A session with one transaction: committed at the end of the block, rolled back if it raises."""
        async with self._sessions() as session, session.begin():
            yield session

    def read_session(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A session outside transactions, for reads."""
        return self._sessions(bind=self.engine.execution_options(isolation_level="AUTOCOMMIT"))


def _pool_class(server: Server) -> type[AsyncAdaptedQueuePool]:
    """A pool in which one waits for a connection as long as a wait for `server` may take."""

    class Pool(AsyncAdaptedQueuePool):
        # It names the pool's logger; those of SQLAlchemy log warnings only.
        __module__ = AsyncAdaptedQueuePool.__module__

        # SQLAlchemy's own goes by the wall clock, and waits on when an attempt to connect has failed and made room.
        def _do_get(self) -> ConnectionPoolEntry:
            began = loop_clock.now()
            server.time_left()  # Starts the deadline of a request that has not waited before.
            while True:
                try:
                    return super()._do_get()
                except sqlalchemy.exc.TimeoutError:
                    if not server.time_left(loop_clock.now() - began):
                        raise TimeoutError("all connections are in use") from None

    return Pool


def _database(request: StateRequest) -> OrmDatabase:
    db = request.state["db"]
    assert isinstance(db, OrmDatabase), "a service that has sessions keeps an OrmDatabase"
    return db


async def _write_session(request: StateRequest) -> AsyncGenerator[AsyncSession]:
    async with _database(request).write_session() as session:
        yield session


async def _read_session(request: StateRequest) -> AsyncGenerator[AsyncSession]:
    async with _database(request).read_session() as session:
        yield session


# scope="function": it commits before the response is sent, so a 2xx means committed.
WriteSession = Annotated[AsyncSession, Depends(_write_session, scope="function")]
ReadSession = Annotated[AsyncSession, Depends(_read_session, scope="function")]
