"""What worker and scheduler serve on METRICS_PORT: /metrics, /health and /livez."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any, Self, TypeVar

from common import metrics, redis_client
from common.health import Health, not_ready, postgres_check, redis_check
from sync import database
from sync.settings import SyncSettings
from sync.shutdown import ShutdownFlag

__all__ = ["Monitor", "serve"]

T = TypeVar("T")
CHECK_SECONDS = 1.0
# A report waits for one that is being made, and then for its own checks.
REPORT_SECONDS = 3 * CHECK_SECONDS


class Monitor:
    """The health of a process whose main thread blocks: PostgreSQL and Redis are asked in a thread with an event loop.

    Its connections are its own. A job that is forked meanwhile leaves them alone: psycopg closes a connection only in
    the process that made it.
    """

    def __init__(self, settings: SyncSettings, name: str) -> None:
        self.db = database.connect(settings, name)
        self.redis = redis_client.connect(settings)
        checks = {"postgres": postgres_check(self.db, "sync"), "redis": redis_check(self.redis)}
        self._health = Health(name, critical=checks)
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="monitor", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.ask(self.db.open())
        return self

    def __exit__(self, *_: object) -> None:
        self.ask(self._close(), REPORT_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def ask(self, question: Coroutine[Any, Any, T], seconds: float = CHECK_SECONDS) -> T:
        """The answer to a question that is asked in the thread; raises TimeoutError."""
        answer = asyncio.run_coroutine_threadsafe(question, self._loop)
        try:
            return answer.result(seconds)
        except TimeoutError:
            answer.cancel()
            raise

    def health(self, *, draining: bool) -> tuple[int, dict[str, Any]]:
        """Status and body of /health, as of the services that speak HTTP."""
        self._health.draining = draining
        report = self.ask(self._health.report(), REPORT_SECONDS)
        if report["status"] == "ok":
            return 200, report
        detail, members = not_ready(report)
        problem = {"type": "about:blank", "title": "Not ready", "status": 503, "detail": detail, "instance": "/health"}
        return 503, problem | members

    async def _close(self) -> None:
        await self.redis.aclose()
        await self.db.close()


@contextmanager
def serve(settings: SyncSettings, name: str, shutdown: ShutdownFlag) -> Iterator[Monitor]:
    """Serve while the block runs."""
    with Monitor(settings, name) as monitor:
        routes = {
            "/health": lambda: monitor.health(draining=shutdown.requested),
            "/livez": lambda: (200, {"status": "ok"}),
        }
        stop = metrics.serve(settings.host, settings.metrics_port, routes)
        try:
            yield monitor
        finally:
            stop()
