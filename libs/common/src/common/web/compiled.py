"""Statements that were compiled from SQLAlchemy Core by `make statements`, and are run by psycopg alone.

So a server loads no SQLAlchemy, a third of its start, and a statement costs nothing but its exchange.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
from psycopg.types.json import Jsonb

from common.json_encoding import dumps
from common.postgres import Postgres
from common.web.database import Transaction

__all__ = ["CompiledQuery", "jsonb", "load_statements"]

T = TypeVar("T")


def jsonb(value: Any) -> Jsonb:
    """A parameter of the type JSONB; its numbers are exact."""
    return Jsonb(value, dumps)


class _Fetches(Protocol):
    """A Database, for a statement of its own, or a Transaction."""

    async def fetch(self, query: str, params: Sequence[Any]) -> list[Any]: ...


class CompiledQuery(msgspec.Struct, frozen=True):
    """A statement; parameters and columns go by their names.

    A parameter has the value that psycopg takes: for JSON, one of `jsonb`.
    """

    sql: str
    parameters: list[str]
    constants: dict[str, Any]
    columns: list[str]

    def values(self, **parameters: Any) -> list[Any]:
        """The parameters in the order of the statement."""
        given = self.constants | parameters
        return [given[name] for name in self.parameters]

    async def fetch(self, source: _Fetches, /, **parameters: Any) -> list[tuple[Any, ...]]:
        return await source.fetch(self.sql, self.values(**parameters))

    async def execute(self, transaction: Transaction, /, **parameters: Any) -> int:
        """The number of rows that were changed."""
        return await transaction.execute(self.sql, self.values(**parameters))

    async def fetch_each(self, db: Postgres, parameters: Sequence[Mapping[str, Any]]) -> list[list[tuple[Any, ...]]]:
        """The rows for each of `parameters`, in one exchange with PostgreSQL."""
        return await db.fetch_each(self.sql, [self.values(**each) for each in parameters])

    async def fetch_as(self, kind: type[T], db: Postgres, **parameters: Any) -> list[T]:
        """Each row as a `kind`, a msgspec struct whose fields are named like the columns."""
        return await db.fetch_as(kind, self.sql, self.values(**parameters))

    def getter(self, *columns: str) -> Callable[[tuple[Any, ...]], Any]:
        """Reads these columns of a row: a tuple of them, of one column its value."""
        return itemgetter(*(self.columns.index(name) for name in columns))


@cache
def load_statements(service: str) -> Mapping[str, CompiledQuery]:
    """The statements of a service by their names, from its statements.json."""
    file = Path(import_module(service).__path__[0], "statements.json")
    return msgspec.json.decode(file.read_bytes(), type=dict[str, CompiledQuery])
