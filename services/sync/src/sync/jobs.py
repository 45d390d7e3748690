"""What RQ may execute, each in a process of its own."""

import asyncio
import faulthandler
import logging
import signal
from typing import Any
from uuid import UUID

import msgspec

from common import tracing
from common.settings import load_settings
from sync import queue
from sync.postgres import Postgres
from sync.settings import SyncSettings

__all__ = ["run", "tick"]

log = logging.getLogger(__name__)

# A loop that does not turn for this long is stuck in somebody's code, and its lease is lost.
STUCK_SECONDS = 15


def run(run_id: str) -> dict[str, Any]:
    """Do a run and tell how it went. A worker that has to end hands the run to the next one."""
    settings = load_settings(SyncSettings)
    tracing.setup(settings, "sync-worker")
    try:
        outcome = asyncio.run(_run(UUID(run_id), settings))
    finally:
        faulthandler.cancel_dump_traceback_later()
        tracing.flush()
    if outcome["outcome"] == "handed_back":
        queue.tell(settings, UUID(run_id), outcome["attempt"])
    return outcome


async def _run(run_id: UUID, settings: SyncSettings) -> dict[str, Any]:
    import httpx

    from sync import providers, runner
    from sync.catalog import CatalogClient

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    # The worker blocked it, so that none is lost before there is somebody to hear it.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    transport = None
    if settings.faults:
        from sync.faults import UnreliableSource

        transport = UnreliableSource()
    source = providers.ProviderConfig(url=settings.external_api_url.get_secret_value(), transport=transport)
    db = Postgres(settings, application="sync-worker")
    async with httpx.AsyncClient() as http:
        parts = runner.Parts(
            db=db,
            catalog=CatalogClient(settings, http),
            provider=lambda: providers.load(settings.external_api_provider, source),
            stop=stop,
            alive=lambda: faulthandler.dump_traceback_later(STUCK_SECONDS, exit=True),
        )
        outcome = await runner.execute(run_id, parts)
    await db.close()
    fields: dict[str, Any] = msgspec.to_builtins(outcome)
    return fields


def tick(source: str) -> dict[str, Any]:
    """Begin the run of the current interval, unless somebody has or a run is active."""
    return asyncio.run(_tick(source, load_settings(SyncSettings)))


async def _tick(source: str, settings: SyncSettings) -> dict[str, Any]:
    from sync import runs
    from sync.runner import patiently

    db = Postgres(settings, application="sync-worker")
    slot = await patiently(lambda: runs.slot(db, settings.interval))
    claimed = await patiently(lambda: runs.claim_slot(db, settings, slot)) if source == settings.source else None
    await db.close()
    fields = {"source": source, "slot": slot}
    if claimed is None:
        log.warning("tick skipped: a run is active, or the slot is taken", extra=fields)
        return {"source": source, "tick": "skipped"}
    log.info("tick claimed its slot", extra=fields | {"run_id": str(claimed.id)})
    queue.tell(settings, claimed.id, claimed.attempt)
    return {"source": source, "tick": "claimed"}
