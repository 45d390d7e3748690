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
from sync import database, queue, runs, sources, timings
from sync.database import retry_while_unavailable
from sync.queue import SafeJob
from sync.results import Report, RunResult, TickResult
from sync.runs import RunRow
from sync.settings import SyncSettings
from sync.sources import SourceRow
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


async def _tick(name: str, settings: SyncSettings, db: Postgres) -> RunResult | None:
    if name == settings.source:
        await retry_while_unavailable(lambda: sources.register(db, settings))
    source = await retry_while_unavailable(lambda: sources.find(db, name))
    claimed, why, fields = None, "there is no such source", {"source": name}
    if source:
        claimed, why = await _claim_slot(source, settings, db)
    if claimed is None:
        log.warning("tick skipped: %s", why, extra=fields)
        _report(TickResult(source=name, outcome=TickOutcome.SKIPPED))
        return None
    log.info("tick claimed its slot", extra=fields | {"run_id": str(claimed.id)})
    _report(TickResult(source=name, outcome=TickOutcome.CLAIMED))
    return await _run(claimed.id, settings, db)


async def _claim_slot(source: SourceRow, settings: SyncSettings, db: Postgres) -> tuple[RunRow | None, str]:
    """The run of the slot that has begun; without it, why there is none."""
    if source.is_foreign(settings):
        return None, "another environment has this source"
    if source.has_moved(settings):
        return None, "the source has another address than its products came from: an admin has to decide"
    if not source.enabled:
        return None, "the source is disabled"
    clock = await retry_while_unavailable(lambda: runs.clock(db, source.name))
    slot = source.schedule.slot(clock.now + timings.SLOT_TOLERANCE)
    claimed = await retry_while_unavailable(lambda: runs.claim_slot(db, source.name, slot))
    return claimed, f"a run is active, or slot {slot} is taken"


async def _run(run_id: UUID, settings: SyncSettings, db: Postgres) -> RunResult:
    # Only here, so that the worker itself stays small.
    import httpx

    from sync import provider_config, providers, retention, runner
    from sync.catalog import CatalogClient

    shutdown = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, shutdown.set)
    # The worker has blocked it, so that none is lost before there is a handler.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    # Proxies are for sources: one between our own services would see the client's secret.
    async with httpx.AsyncClient(trust_env=False) as http:
        catalog = CatalogClient(settings, http)
        dependencies = runner.RunDependencies(
            settings=settings,
            db=db,
            catalog=catalog,
            provider=lambda source: providers.load(source.provider, provider_config.of(source, settings)),
            shutdown=shutdown,
        )
        result = await runner.execute(run_id, dependencies)
        _report(result)
        if result.outcome is Outcome.SUCCEEDED:
            await retention.prune(db, catalog, settings.run_retention_days)
    return result


def _report(report: Report) -> None:
    cast(SafeJob, get_current_job()).reports.send(report)
