"""/health and /livez of processes without HTTP framework, and checks that answer within a second."""

import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from importlib import resources
from threading import Lock, Thread
from typing import Any, Generic, TypeVar

import psycopg
from redis import Redis

from common import __version__
from common.diagnostics import CheckLog, NotReady, describe
from sync.settings import SyncSettings
from sync.stop import Stop

__all__ = ["Health", "Probe", "one_query", "redis_probe", "schema_probe"]

T = TypeVar("T")
SECONDS = 1.0


class Probe(Generic[T]):
    """Asks a question in a thread of its own: an answer within 1 s or TimeoutError, at most one question at a time.

    An answer is good for `fresh` seconds.
    """

    def __init__(self, ask: Callable[[], T], *, fresh: float = 1.0) -> None:
        self._ask = ask
        self._fresh = fresh
        self._lock = Lock()
        self._answer: Future[T] | None = None
        self._asked = 0.0

    def __call__(self) -> T:
        with self._lock:
            stale = time.monotonic() - self._asked > self._fresh
            if self._answer is None or (stale and self._answer.done()):
                self._answer, self._asked = Future(), time.monotonic()
                # A daemon: one that hangs must not keep the process from ending.
                Thread(target=self._run, args=[self._answer], name="probe", daemon=True).start()
            answer = self._answer
        return answer.result(timeout=SECONDS)

    def _run(self, answer: Future[T]) -> None:
        try:
            answer.set_result(self._ask())
        except Exception as error:
            answer.set_exception(error)


def one_query(settings: SyncSettings, query: str) -> list[Any]:
    """The rows of one query on a connection of its own."""
    options = "-c statement_timeout=1s -c timezone=UTC"
    with psycopg.connect(settings.database_url.get_secret_value(), connect_timeout=2, options=options) as connection:
        return connection.execute(query).fetchall()


def schema_probe(settings: SyncSettings) -> Probe[None]:
    """PostgreSQL answers and the schema is at least as new as the code."""
    names = (path.name for path in (resources.files("sync") / "migrations" / "versions").iterdir())
    head = max(int(match[1]) for name in names if (match := re.match(r"(\d{4})_\w+\.py$", name)))

    def ask() -> None:
        try:
            rows = one_query(settings, "SELECT version_num FROM sync.alembic_version")
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            rows = []
        if not rows or int(rows[0][0]) < head:
            raise NotReady("the schema is older than the code: run `python -m sync migrate`")

    return Probe(ask)


def redis_probe(connection: Redis) -> Probe[None]:
    """Redis answers."""

    def ask() -> None:
        connection.ping()

    return Probe(ask)


class Health:
    """The answers of /health and /livez: 200 while every check passes and the process is not ending."""

    def __init__(self, service: str, stop: Stop, checks: Mapping[str, Callable[[], Any]]) -> None:
        self._service = service
        self._stop = stop
        self._checks = checks
        self._log = CheckLog()

    def routes(self) -> dict[str, Callable[[], tuple[int, dict[str, Any]]]]:
        return {"/health": self.report, "/livez": lambda: (200, {"status": "ok"})}

    def report(self) -> tuple[int, dict[str, Any]]:
        checks = {name: _result(check) for name, check in self._checks.items()}
        self._log.record(checks)
        failed = [f"{name}: {result['detail']}" for name, result in checks.items() if "detail" in result]
        state = "draining" if self._stop.requested else "unavailable" if failed else "ok"
        report = {"service": self._service, "version": __version__, "checks": checks}
        if state == "ok":
            return 200, {"status": "ok"} | report
        detail = ", ".join(failed) or state
        problem = {"type": "about:blank", "title": "Not ready", "status": 503, "detail": detail, "instance": "/health"}
        return 503, problem | {"state": state} | report


def _result(check: Callable[[], Any]) -> dict[str, Any]:
    began = time.perf_counter()
    result: dict[str, Any] = {"status": "ok", "critical": True}
    try:
        check()
    except TimeoutError:
        result |= {"status": "failed", "detail": f"no answer within {SECONDS:g} s"}
    except Exception as error:
        result |= {"status": "failed", "detail": describe(error)}
    return result | {"latency_ms": round((time.perf_counter() - began) * 1000, 1)}
