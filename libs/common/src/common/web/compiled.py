"""Statements of SQLAlchemy Core that are compiled once, since SQLAlchemy's own cost per execution would count."""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Protocol, TypeVar

from psycopg.types.json import Jsonb
from sqlalchemy import Delete, Insert, Select, Update
from sqlalchemy.dialects.postgresql import psycopg

from common.json_encoding import dumps
from common.postgres import Postgres
from common.web.database import Transaction

__all__ = ["CompiledQuery", "jsonb"]

T = TypeVar("T")
# With positional parameters, as `Postgres.fetch` takes them.
_DIALECT = psycopg.dialect(paramstyle="format")  # type: ignore[no-untyped-call]


def jsonb(value: Any) -> Jsonb:
    """A parameter of the type JSONB; its numbers are exact."""
    return Jsonb(value, dumps)


class _Fetches(Protocol):
    """A Database, for a statement of its own, or a Transaction."""

    async def fetch(self, query: str, params: Sequence[Any]) -> list[Any]: ...


class CompiledQuery:
    """A statement that is compiled once and run by psycopg alone; parameters and columns go by their names.

    A parameter has the value that psycopg takes: for JSON, one of `jsonb`.
    """

    def __init__(self, statement: Select[Any] | Insert | Update | Delete) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        self.sql = str(compiled)
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}
        self._parameters: list[str] = compiled.positiontup or []
        self._columns = statement.exported_columns.keys()

    def values(self, **parameters: Any) -> list[Any]:
        """The parameters in the order of the statement."""
        given = self._constants | parameters
        return [given[name] for name in self._parameters]

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
        return itemgetter(*(self._columns.index(name) for name in columns))
