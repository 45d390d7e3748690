"""What RQ may execute, each in a process of its own."""

import asyncio
import faulthandler
import logging
import signal
from collections.abc import Callable, Coroutine
from typing import Any, cast
from uuid import UUID

from rq import get_current_job

from common import tracing
from common.postgres import Postgres
from common.settings import load_settings
from sync import database, queue, runs, timings
from sync.database import retry_while_unavailable
from sync.queue import SafeJob
from sync.results import Report, RunResult, TickResult
from sync.settings import SyncSettings
from sync.states import Outcome, TickOutcome

__all__ = ["run", "tick"]

log = logging.getLogger(__name__)

Job = Callable[[SyncSettings, Postgres], Coroutine[Any, Any, RunResult | None]]


def run(run_id: str) -> None:
    """Do a run."""
    _perform(lambda settings, db: _run(UUID(run_id), settings, db))


def tick(source: str) -> None:
    """Claim the slot of the current interval and do its run, unless the slot is taken or a run is active."""
    _perform(lambda settings, db: _tick(source, settings, db))


def _perform(job: Job) -> None:
    """Do a job to its end. A run that it had to release goes to the next worker."""
    settings = load_settings(SyncSettings)
    tracing.setup(settings, "sync-worker")
    try:
        result = asyncio.run(_in_loop(job, settings))
    finally:
        tracing.flush()
    if result and result.outcome is Outcome.RELEASED:
        queue.notify(settings, result.run_id, result.attempt)


async def _in_loop(job: Job, settings: SyncSettings) -> RunResult | None:
    watchdog = asyncio.create_task(_watch())
    # Let it start: a job may block at once.
    await asyncio.sleep(0)
    try:
        async with database.connect(settings, "sync-worker") as db:
            return await job(settings, db)
    finally:
        watchdog.cancel()
        faulthandler.cancel_dump_traceback_later()


async def _watch() -> None:
    """End the process if its event loop is blocked by a provider's code; then nothing here could end it."""
    while True:
        faulthandler.dump_traceback_later(timings.BLOCKED, exit=True)
        await asyncio.sleep(timings.RENEWAL)


async def _tick(source: str, settings: SyncSettings, db: Postgres) -> RunResult | None:
    slot = await retry_while_unavailable(lambda: runs.current_slot(db, settings.interval))
    fields = {"source": source, "slot": slot}
    claimed = None
    if source == settings.source:
        claimed = await retry_while_unavailable(lambda: runs.claim_slot(db, settings, slot))
    if claimed is None:
        log.warning("tick skipped: a run is active, or the slot is taken", extra=fields)
        _report(TickResult(source=source, outcome=TickOutcome.SKIPPED))
        return None
    log.info("tick claimed its slot", extra=fields | {"run_id": str(claimed.id)})
    _report(TickResult(source=source, outcome=TickOutcome.CLAIMED))
    return await _run(claimed.id, settings, db)


async def _run(run_id: UUID, settings: SyncSettings, db: Postgres) -> RunResult:
    # Only here, so that the worker itself stays small.
    import httpx

    from sync import providers, runner
    from sync.catalog import CatalogClient

    shutdown = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, shutdown.set)
    # The worker has blocked it, so that none is lost before there is a handler.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    transport = None
    if settings.faults:
        from sync.faults import UnreliableSource

        transport = UnreliableSource()
    source = providers.ProviderConfig(url=settings.external_api_url.get_secret_value(), transport=transport)
    # Proxies are for sources: one between our own services would see the client's secret.
    async with httpx.AsyncClient(trust_env=False) as http:
        dependencies = runner.RunDependencies(
            settings=settings,
            db=db,
            catalog=CatalogClient(settings, http),
            provider=lambda: providers.load(settings.external_api_provider, source),
            shutdown=shutdown,
        )
        result = await runner.execute(run_id, dependencies)
    _report(result)
    return result


def _report(report: Report) -> None:
    cast(SafeJob, get_current_job()).reports.send(report)
