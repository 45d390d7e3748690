"""Statements of SQLAlchemy Core that run so often that SQLAlchemy's own cost per execution would count."""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.dialects.postgresql import psycopg

from common.postgres import Postgres

__all__ = ["CompiledQuery"]

T = TypeVar("T")
# With positional parameters, as `Postgres.fetch` takes them.
_DIALECT = psycopg.dialect(paramstyle="format")  # type: ignore[no-untyped-call]


class CompiledQuery:
    """A statement that is compiled once and run by psycopg alone; parameters and columns go by their names."""

    def __init__(self, statement: Select[Any]) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        self.sql = str(compiled)
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}
        self._parameters: list[str] = compiled.positiontup or []
        self._columns = statement.selected_columns.keys()

    def values(self, **parameters: Any) -> list[Any]:
        """The parameters in the order of the statement."""
        given = self._constants | parameters
        return [given[name] for name in self._parameters]

    async def fetch(self, db: Postgres, **parameters: Any) -> list[tuple[Any, ...]]:
        return await db.fetch(self.sql, self.values(**parameters))

    async def fetch_each(self, db: Postgres, parameters: Sequence[Mapping[str, Any]]) -> list[list[tuple[Any, ...]]]:
        """The rows for each of `parameters`, in one exchange with PostgreSQL."""
        return await db.fetch_each(self.sql, [self.values(**each) for each in parameters])

    async def fetch_as(self, kind: type[T], db: Postgres, **parameters: Any) -> list[T]:
        """Each row as a `kind`, a msgspec struct whose fields are named like the columns."""
        return await db.fetch_as(kind, self.sql, self.values(**parameters))

    def getter(self, *columns: str) -> Callable[[tuple[Any, ...]], Any]:
        """Reads these columns of a row: a tuple of them, of one column its value."""
        return itemgetter(*(self._columns.index(name) for name in columns))
