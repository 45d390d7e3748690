"""What keeps a process from PostgreSQL or Redis: in our own words, with what to do about it."""

import re
from collections.abc import Mapping
from logging import getLogger
from typing import Any

import psycopg
import redis.exceptions

__all__ = ["BOOTSTRAP", "Changes", "NotReady", "cause", "refusal"]

log = getLogger(__name__)
BOOTSTRAP = "make the roles and schemas with helm/products-api/files/bootstrap.sql"


class NotReady(Exception):
    """A check's own words on what is missing."""


def cause(error: BaseException) -> str:
    """Why a check failed, fit for anybody's eyes: drivers' own messages may hold addresses and names."""
    match error:
        case NotReady():
            return str(error)
        case psycopg.OperationalError(sqlstate=None):
            return refusal(str(error)) or "no connection to PostgreSQL: check DATABASE_URL and the network"
        case redis.exceptions.AuthenticationError():
            return "Redis refuses the password in REDIS_URL: correct it"
        case redis.exceptions.ConnectionError() | redis.exceptions.TimeoutError():
            return "no connection to Redis: check REDIS_URL and the network"
    return type(error).__name__


def refusal(said: str) -> str | None:
    """What to do about PostgreSQL's final no, as its driver tells it; None while it is worth waiting."""
    match = re.search(r"FATAL:\s+(.*)", said)
    if match is None and "no password supplied" not in said:
        return None
    no = match[1] if match else ""
    if re.search(r"starting up|shutting down|not yet accepting|recovery|too many|reserved for", no):
        return None
    if "does not exist" in no:
        return f"PostgreSQL knows no such role or database: {BOOTSTRAP}"
    if "password" in said:
        return "PostgreSQL refuses the password in DATABASE_URL: correct it"
    return "PostgreSQL refuses the connection: check DATABASE_URL"


class Changes:
    """Logs what became of each check of /health, once."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def tell(self, checks: Mapping[str, Mapping[str, Any]]) -> None:
        """`checks` as in a report of /health."""
        for name, check in checks.items():
            detail = check.get("detail", "ok")
            if detail == self._told.get(name, "ok"):
                continue
            log.log(20 if detail == "ok" else 30, "%s: %s", name, detail)
            self._told[name] = detail
