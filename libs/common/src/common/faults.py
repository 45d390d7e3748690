"""Fault injection for developers: FAULTS=latency=0.1:300,error=0.05,postgres=0.02,redis=0.1,source=0.2

Imported only when FAULTS is set, so that it costs nothing when it is not.
"""

import random
import re
from collections.abc import Callable
from logging import getLogger
from mmap import mmap

import psycopg.waiting
import redis.asyncio.connection
from prometheus_client.core import REGISTRY, CounterMetricFamily
from prometheus_client.registry import Collector

__all__ = ["install", "latency_seconds", "parse", "should_fail"]

log = getLogger(__name__)
_ITEM = re.compile(r"((latency)|error|postgres|redis|source)=([01](?:\.0+)?|0?\.[0-9]+)(?(2):([0-9]{1,5}))").fullmatch
_faults: dict[str, tuple[float, float]] = {}
_injected = {kind: memoryview(mmap(-1, 8)).cast("Q") for kind in ("latency", "error", "postgres", "redis", "source")}


def parse(text: str) -> dict[str, tuple[float, float]]:
    """The share of calls that fail, and seconds, by kind; raises ValueError with what is allowed."""
    found = [_ITEM(item.strip()) for item in text.split(",")]
    faults = {it[1]: (float(it[3]), int(it[4] or 0) / 1000) for it in found if it}
    if len(faults) < len(found):
        raise ValueError("must be some of latency=0.1:300,error=0.05,postgres=0.02,redis=0.1,source=0.2, shares 0 to 1")
    return faults


def install(text: str) -> None:
    """Let PostgreSQL and Redis fail for this process and what it forks, as FAULTS says; call it once, at start."""
    log.warning("fault injection is on: FAULTS=%s", text)
    _faults.update(parse(text))
    REGISTRY.register(FaultCollector())
    _fail("postgres", psycopg.waiting, "wait_conn_async", lambda _: psycopg.OperationalError("fault injection is on"))
    _fail("postgres", psycopg.AsyncCursor, "execute", lambda cursor: cursor.connection.pgconn.finish())
    _fail("postgres", psycopg.AsyncConnection, "commit", lambda connection: connection.pgconn.finish())
    for owner in (redis.connection.AbstractConnection, redis.asyncio.connection.AbstractConnection):
        _fail("redis", owner, "send_packed_command", lambda _: redis.ConnectionError("fault injection is on"))


def _fail(kind: str, owner: object, name: str, lose: Callable[..., Exception | None]) -> None:
    """Let a method fail at times: `lose` returns the error to raise, or breaks what the call needs."""
    method = getattr(owner, name)

    def unreliable(*arguments: object, **options: object) -> object:
        if should_fail(kind) and (error := lose(arguments[0])):
            raise error
        return method(*arguments, **options)

    setattr(owner, name, unreliable)


def should_fail(kind: str) -> bool:
    """Whether the call at hand is to fail by this kind of fault; counted if so."""
    if injected := random.random() < _faults.get(kind, (0,))[0]:  # noqa: S311
        _injected[kind][0] += 1
        log.debug("injected: %s", kind)
    return injected


def latency_seconds() -> float:
    return _faults["latency"][1]


class FaultCollector(Collector):
    """Counts in memory that is shared with forked jobs, which Prometheus does not scrape."""

    @staticmethod
    def describe() -> list[CounterMetricFamily]:
        """The metric without values."""
        return [CounterMetricFamily("products_faults_injected", "Faults injected by FAULTS.", labels=["kind"])]

    def collect(self) -> list[CounterMetricFamily]:
        (counts,) = self.describe()
        for kind, count in _injected.items():
            counts.add_metric([kind], count[0])
        return [counts]
