"""Transactions of PostgreSQL, with psycopg alone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from psycopg.abc import Loader

from common.connection import MAX_WAIT, Connection
from common.postgres import TRANSACTION, Postgres, fetch_rows, give_back
from common.settings import ServiceSettings

__all__ = ["Database", "Transaction"]

T = TypeVar("T")


class Transaction:
    """One transaction, from its first statement to the commit.

    The first statement is tried again on a connection that died unused: before the commit nothing of it is kept.
    """

    def __init__(self, take: Callable[[Any], Awaitable[tuple[Connection, Any]]]) -> None:
        self._take = take
        self.connection: Connection | None = None

    async def fetch(self, query: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        """Rows (tuples) of one statement."""
        return await self._exchange(lambda connection: fetch_rows(connection, query, params))

    async def execute(self, query: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> int:
        """The number of rows that a statement has changed."""

        async def count(connection: Connection) -> int:
            return (await connection.execute(query, params)).rowcount

        return await self._exchange(count)

    async def copy(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Send rows by `COPY ... FROM STDIN`."""

        async def write(connection: Connection) -> None:
            async with connection.cursor() as cursor, cursor.copy(statement) as copy:
                for row in rows:
                    await copy.write_row(row)

        await self._exchange(write)

    async def _exchange(self, exchange: Callable[[Connection], Awaitable[T]]) -> T:
        if self.connection is not None:
            return await exchange(self.connection)
        result: T
        self.connection, result = await self._take(exchange)
        return result


class Database(Postgres):
    """The PostgreSQL connections of an HTTP service: the pool of `fetch`, and one for transactions."""

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        application: str,
        max_wait: float = MAX_WAIT,
        loaders: Mapping[str, type[Loader]] | None = None,
    ) -> None:
        super().__init__(settings, application=application, max_wait=max_wait, loaders=loaders)
        # A read that is known to be slow holds this, so that connections are left for the others.
        self.slow_reads = asyncio.Semaphore(1)
        self._transactions = self._add_pool(settings.db_pool_size, TRANSACTION, min_size=0, autocommit=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """One transaction: committed at the end of the block, rolled back if it raises."""
        transaction = Transaction(partial(self._take, self._transactions))
        try:
            yield transaction
            if transaction.connection is not None:
                await transaction.connection.commit()
        finally:
            if transaction.connection is not None:
                await give_back(self._transactions, transaction.connection)
