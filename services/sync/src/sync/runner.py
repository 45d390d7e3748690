"""A run, from the claim to its end."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from msgspec import structs

from common import tracing
from imports.messages import Counts
from sync import runs
from sync.catalog import CatalogClient, CatalogRejected, CatalogUnavailable, StaleRun
from sync.postgres import Fetch
from sync.providers import ExternalAPIProvider, ProviderError
from sync.runs import Run

__all__ = ["Outcome", "Parts", "execute", "patiently"]

log = logging.getLogger(__name__)

RUN_SECONDS = 25 * 60
RENEW_SECONDS = 3.0
# How long the page at hand may take once the process has to end.
GRACE_SECONDS = 6.0
DATABASE_PATIENCE = 60.0
# A source of which more than a tenth is unusable has changed its format: better old products than half of them.
MAX_REJECTED, ENOUGH_RECORDS = 0.1, 20

T = TypeVar("T")


@dataclass(frozen=True)
class Parts:
    """What a run works with. `stop` says that the process has to end, `alive` hears that its loop still turns."""

    db: Fetch
    catalog: CatalogClient
    provider: Callable[[], ExternalAPIProvider]
    stop: asyncio.Event
    alive: Callable[[], None] = lambda: None


@dataclass
class Outcome:
    """How one worker's part in a run ended: succeeded, failed, handed_back, lost or skipped."""

    source: str
    outcome: str = "succeeded"
    counts: Counts = Counts()  # noqa: RUF009  # frozen
    pages: int = 0
    attempt: int = 0
    seconds: float = 0.0
    error: str | None = None


class RunFailed(Exception):
    """The run ends here; the text tells an admin why."""


class LeaseLost(Exception):
    """Another worker has the run."""


class HandBack(Exception):
    """This process has to end; another worker goes on."""


async def execute(run_id: UUID, parts: Parts) -> Outcome:
    """Do a run, if it still waits for a worker. May be done twice and cut off anywhere: staging and merge are safe."""
    began = time.monotonic()
    run = await patiently(lambda: runs.claim(parts.db, run_id))
    if run is None:
        return Outcome("", "skipped")
    log.info("run started", extra={"run_id": str(run.id), "source": run.source, "attempt": run.attempt})
    part = Outcome(run.source, pages=run.pages, attempt=run.attempt)
    with tracing.span("sync.run", traceparent=run.traceparent, source=run.source, run_id=str(run.id)):
        try:
            part.counts = await _first_of(
                _transfer(run, parts, part), _keep(run, parts, part), _stopping(parts), _overtime(run)
            )
        except HandBack:
            part.outcome = "handed_back"
        except (LeaseLost, StaleRun) as error:
            part.outcome, part.error = "lost", str(error)
        except Exception as error:
            part.outcome, part.error = "failed", _cause(error, part)
        if not await _record(run, parts, part):
            part.outcome, part.error = "lost", "another worker has the run"
    part.seconds = time.monotonic() - began
    _log_end(run, part)
    return part


async def _transfer(run: Run, parts: Parts, part: Outcome) -> Counts:
    """Pages from the source into catalog, and the merge when all are there."""
    provider = parts.provider()
    try:
        staged = await parts.catalog.open(run.source, run.id, run.fence or 0)
        if not staged.complete:
            async for page in provider.pages(staged.cursor):
                await staged.stage(page)
                part.pages += 1
                part.counts = Counts(fetched=staged.staged + staged.rejected, rejected=staged.rejected)
                await _renew(run, parts, part)
                if parts.stop.is_set():
                    raise HandBack
        if not staged.complete:
            raise RunFailed("the provider stopped before its last page")
        total = staged.staged + staged.rejected
        if total >= ENOUGH_RECORDS and staged.rejected > total * MAX_REJECTED:
            raise RunFailed(f"{staged.rejected} of {total} records are unusable: nothing was merged")
        return await staged.merge()
    except SystemExit:
        raise RunFailed("the provider tried to end the worker") from None
    finally:
        await provider.aclose()


async def _keep(run: Run, parts: Parts, part: Outcome) -> Counts:
    """Keep the lease while anything else takes its time."""
    while True:
        parts.alive()
        await asyncio.sleep(RENEW_SECONDS)
        await _renew(run, parts, part)


async def _renew(run: Run, parts: Parts, part: Outcome) -> None:
    counts = part.counts
    try:
        kept = await runs.renew(parts.db, run, pages=part.pages, fetched=counts.fetched, rejected=counts.rejected)
    except psycopg.OperationalError as error:
        # Nobody else can claim it meanwhile either, and the fence tells whether somebody did.
        log.warning("cannot renew the lease: %s", type(error).__name__, extra={"run_id": str(run.id)})
        return
    if not kept:
        raise LeaseLost("another worker has the run")


async def _stopping(parts: Parts) -> Counts:
    await parts.stop.wait()
    await asyncio.sleep(GRACE_SECONDS)
    raise HandBack


async def _overtime(run: Run) -> Counts:
    # Counted from the first worker's start: a run that kills each of its workers has to end too. Our own clock may be
    # wrong; both times are the database's.
    spent = (run.heartbeat_at - run.started_at).total_seconds() if run.started_at and run.heartbeat_at else 0.0
    await asyncio.sleep(RUN_SECONDS - spent)
    raise RunFailed(f"not done {RUN_SECONDS // 60} minutes after its start")


async def _first_of(*parts: Coroutine[Any, Any, T]) -> T:
    """The result, or error, of what ends first; the rest is cancelled."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task.done()).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=2)


async def _record(run: Run, parts: Parts, part: Outcome) -> bool:
    """Write the end of the run; False if it is not ours any more."""
    if part.outcome == "lost":
        return True
    if part.outcome == "handed_back":
        return await runs.hand_back(parts.db, run)
    return await patiently(lambda: runs.finish(parts.db, run, pages=part.pages, counts=part.counts, error=part.error))


async def patiently(query: Callable[[], Awaitable[T]], seconds: float = DATABASE_PATIENCE) -> T:
    """The answer to `query`, asked anew while PostgreSQL is away."""
    give_up = time.monotonic() + seconds
    while True:
        try:
            return await query()
        except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
            if time.monotonic() > give_up:
                raise
            await asyncio.sleep(0.5)


def _cause(error: Exception, part: Outcome) -> str:
    if isinstance(error, ProviderError):
        return f"page {part.pages + 1}: {type(error).__name__}: {error.detail}"
    if isinstance(error, RunFailed | CatalogUnavailable | CatalogRejected):
        return str(error)
    log.error("unexpected error in a run", exc_info=error)
    return f"page {part.pages + 1}: unexpected {type(error).__name__}; see the worker's log"


def _log_end(run: Run, part: Outcome) -> None:
    fields = {
        "run_id": str(run.id),
        "source": run.source,
        "attempt": run.attempt,
        "pages": part.pages,
        "counts": structs.asdict(part.counts),
        "seconds": round(part.seconds, 3),
    }
    if part.error:
        fields["error"] = part.error
    log.log(logging.INFO if part.error is None else logging.WARNING, "run %s", part.outcome, extra=fields)
