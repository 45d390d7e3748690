"""Why PostgreSQL or Redis cannot be used: without addresses and names, and with what to do about it."""

import re
from collections.abc import Mapping
from logging import getLogger
from typing import Any

import psycopg
import redis.exceptions

__all__ = ["BOOTSTRAP", "CheckLog", "NotReady", "describe", "permanent_refusal"]

log = getLogger(__name__)
BOOTSTRAP = "make the roles and schemas with helm/products-api/files/bootstrap.sql"


class NotReady(Exception):
    """Raised by a check that can say itself what is missing."""


def describe(error: BaseException) -> str:
    """Why a check failed, safe to publish: drivers' own messages may hold addresses and names."""
    match error:
        case NotReady():
            return str(error)
        case psycopg.OperationalError(sqlstate=None):
            return permanent_refusal(str(error)) or "no connection to PostgreSQL: check DATABASE_URL and the network"
        case redis.exceptions.AuthenticationError():
            return "Redis refuses the password in REDIS_URL: correct it"
        case redis.exceptions.ConnectionError() | redis.exceptions.TimeoutError():
            return "no connection to Redis: check REDIS_URL and the network"
    return type(error).__name__


def permanent_refusal(message: str) -> str | None:
    """What to do about a connection that PostgreSQL refuses for good; None where waiting helps."""
    match = re.search(r"FATAL:\s+(.*)", message)
    if match is None and "no password supplied" not in message:
        return None
    reason = match[1] if match else ""
    if re.search(r"starting up|shutting down|not yet accepting|recovery|too many|reserved for", reason):
        return None
    if "does not exist" in reason:
        return f"PostgreSQL has no such role or database: {BOOTSTRAP}"
    if "password" in message:
        return "PostgreSQL refuses the password in DATABASE_URL: correct it"
    return "PostgreSQL refuses the connection: check DATABASE_URL"


class CheckLog:
    """Logs each check of /health when its result changes."""

    def __init__(self) -> None:
        self._logged: dict[str, str] = {}

    def record(self, checks: Mapping[str, Mapping[str, Any]]) -> None:
        """`checks` as in a report of /health."""
        for name, check in checks.items():
            detail = check.get("detail", "ok")
            if detail == self._logged.get(name, "ok"):
                continue
            log.log(20 if detail == "ok" else 30, "%s: %s", name, detail)
            self._logged[name] = detail
