"""Readiness: the checks of a process, and their report.

The same for HTTP services, which serve it by `common.web.health`, and for processes without a web framework.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

from psycopg.sql import SQL, Identifier
from redis.asyncio import Redis

from common import __version__
from common.diagnostics import CheckLog, NotReady, describe
from common.postgres import Postgres

__all__ = ["Check", "Health", "not_ready", "postgres_check", "redis_check"]

Check = Callable[[], Awaitable[None]]
Facts = Callable[[], Awaitable[dict[str, Any]]]
CHECK_SECONDS = 1.0
CACHE_SECONDS = 1.0


class Health:
    """Runs a service's checks, each under its own 1 s deadline, at most once a second.

    A failed critical check makes it `unavailable` (503), any other `degraded` (200), a drain `draining` (503).
    `path` is the one that clients use, since one gateway leads to several services. `facts` are further public
    members of the report, left out while they cannot be read.
    """

    def __init__(
        self,
        service: str,
        *,
        critical: dict[str, Check],
        optional: dict[str, Check] | None = None,
        path: str = "/health",
        facts: Facts | None = None,
    ) -> None:
        self.service = service
        self._facts = facts
        self.path = path
        self.draining = False
        self._checks = [(name, check, True) for name, check in critical.items()]
        self._checks += [(name, check, False) for name, check in (optional or {}).items()]
        self._log = CheckLog()
        self._lock = asyncio.Lock()
        self._report: dict[str, Any] = {}
        self._expires = 0.0

    async def report(self) -> dict[str, Any]:
        """`{"status": ok|degraded|unavailable|draining, "service", "version", "checks": {name: {...}}}`"""
        async with self._lock:
            if time.monotonic() >= self._expires:
                self._report = await self._run()
                self._expires = time.monotonic() + CACHE_SECONDS
        return self._report | {"status": "draining"} if self.draining else self._report

    async def _run(self) -> dict[str, Any]:
        results = await asyncio.gather(*(self._run_check(check, critical) for _, check, critical in self._checks))
        checks = {name: result for (name, _, _), result in zip(self._checks, results, strict=True)}
        self._log.record(checks)
        failed = [check["critical"] for check in checks.values() if check["status"] != "ok"]
        status = "unavailable" if any(failed) else "degraded" if failed else "ok"
        report = {"status": status, "service": self.service, "version": __version__, "checks": checks}
        return report | (await self._read_facts() if status == "ok" and self._facts else {})

    async def _read_facts(self) -> dict[str, Any]:
        assert self._facts is not None
        task = asyncio.ensure_future(self._facts())
        done, _ = await asyncio.wait({task}, timeout=CHECK_SECONDS)
        if not done:
            task.cancel()
        return task.result() if done and not task.exception() else {}

    async def _run_check(self, check: Check, critical: bool) -> dict[str, Any]:
        began = time.perf_counter()
        # Detached: a check that ignores its cancellation must not hold up the answer.
        task = asyncio.ensure_future(check())
        done, _ = await asyncio.wait({task}, timeout=CHECK_SECONDS)
        result: dict[str, Any] = {"status": "ok", "critical": critical}
        if not done:
            task.cancel()
            result |= {"status": "failed", "detail": f"no answer within {CHECK_SECONDS:g} s"}
        elif error := task.exception():
            result |= {"status": "failed", "detail": describe(error)}
        return result | {"latency_ms": round((time.perf_counter() - began) * 1000, 1)}


def not_ready(report: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The detail and the further members of the 503 problem for a report of `Health`."""
    failed = ", ".join(f"{name}: {check['detail']}" for name, check in report["checks"].items() if "detail" in check)
    members = {key: report[key] for key in ("service", "version", "checks")} | {"state": report["status"]}
    return failed or report["status"], members


def postgres_check(db: Postgres, service: str) -> Check:
    """PostgreSQL answers, and this service's schema is at least as new as its code."""
    head = _head_revision(service)
    behind = NotReady(f"the schema is older than the code: run `python -m {service} migrate`")
    query = SQL("SELECT version_num FROM {}.alembic_version").format(Identifier(service))

    async def check() -> None:
        exists = await db.fetch("SELECT to_regclass(%s) IS NOT NULL", [f"{service}.alembic_version"])
        rows = await db.fetch(query) if exists[0][0] else []
        if not rows or int(rows[0][0]) < head:
            raise behind

    return check


def _head_revision(service: str) -> int:
    """The number of the newest migration in the package of `service`."""
    names = (path.name for path in (resources.files(service) / "migrations" / "versions").iterdir())
    return max(int(match[1]) for name in names if (match := re.match(r"(\d{4})_\w+\.py$", name)))


def redis_check(redis: Redis) -> Check:
    """Redis answers."""

    async def check() -> None:
        await redis.ping()

    return check
