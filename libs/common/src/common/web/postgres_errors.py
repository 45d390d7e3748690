"""What PostgreSQL's errors mean to a client."""

import sys

import psycopg
from psycopg_pool import PoolTimeout

__all__ = ["error_types", "is_bad_value", "is_unavailable", "retry_advice"]

_UNAVAILABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InvalidSchemaName,
    PoolTimeout,
    TimeoutError,
    OSError,
)


def error_types() -> tuple[type[Exception], ...]:
    """What a statement may raise; of SQLAlchemy only in a service that has loaded it."""
    loaded = sys.modules.get("sqlalchemy.exc")
    return (psycopg.Error, PoolTimeout, OSError, *([loaded.SQLAlchemyError] if loaded else []))


def is_unavailable(error: BaseException) -> bool:
    """Whether `error` says that PostgreSQL cannot serve now (503), rather than a fault of ours (500)."""
    return isinstance(_driver_error(error), _UNAVAILABLE)


def is_bad_value(error: BaseException) -> bool:
    """Whether PostgreSQL refused a value that our own checks let through (NUL in imported text, say)."""
    return isinstance(_driver_error(error), psycopg.DataError)


def retry_advice(error: BaseException) -> str:
    """What a client is told when PostgreSQL cannot serve now."""
    cause = _driver_error(error)
    if isinstance(cause, psycopg.errors.LockNotAvailable | psycopg.errors.TransactionRollback):
        return "Another request is changing the same rows; try again."
    if isinstance(cause, psycopg.errors.QueryCanceled):
        return "This takes PostgreSQL too long now; try again, or ask for less."
    return "A dependency does not answer; try again."


def _driver_error(error: BaseException) -> BaseException:
    """psycopg's own, which an error of SQLAlchemy has in `orig`."""
    cause = getattr(error, "orig", None)
    return cause if isinstance(cause, BaseException) else error
