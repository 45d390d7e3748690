"""A run, from the claim to its end."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import psycopg

from common import tracing
from common.postgres import Postgres
from imports.counts import Counts
from sync import runs, timings
from sync.catalog import CatalogClient, CatalogRejected, CatalogUnavailable, StaleRun
from sync.database import retry_while_unavailable
from sync.providers import ExternalAPIProvider, ProviderError
from sync.results import RunResult
from sync.runs import RunRow
from sync.settings import SyncSettings
from sync.states import Outcome

__all__ = ["RunDependencies", "execute"]

log = logging.getLogger(__name__)

# A source of which more than a tenth is unusable has changed its format: better old products than half of them.
MAX_REJECTED, ENOUGH_RECORDS = 0.1, 20
# A provider may say anything in its errors.
MAX_ERROR = 2000

T = TypeVar("T")


@dataclass(frozen=True)
class RunDependencies:
    """What a run works with. `shutdown` is set when the process has to end."""

    settings: SyncSettings
    db: Postgres
    catalog: CatalogClient
    provider: Callable[[], ExternalAPIProvider]
    shutdown: asyncio.Event


class RunFailed(Exception):
    """The run ends here; the text tells an admin why."""


class LeaseLost(Exception):
    """Another worker has the run."""


class ShutdownRequested(Exception):
    """This process has to end; another worker goes on."""


async def execute(run_id: UUID, dependencies: RunDependencies) -> RunResult:
    """Do a run, if it needs a worker. May be done twice and cut off anywhere: staging and merge are safe."""
    began = time.monotonic()
    run = await retry_while_unavailable(lambda: runs.claim(dependencies.db, dependencies.settings, run_id))
    if run is None:
        return RunResult(run_id=run_id, outcome=Outcome.SKIPPED)
    result = RunResult(run_id=run.id, source=run.source, pages=run.pages, attempt=run.attempt)
    above = 0
    log.info("run started", extra={"run_id": str(run.id), "source": run.source, "attempt": run.attempt})
    with tracing.span("sync.run", traceparent=run.traceparent, source=run.source, run_id=str(run.id)):
        try:
            result.counts = await _first_of(
                _transfer(run, dependencies, result),
                _renew_lease(run, dependencies, result),
                _await_shutdown(dependencies),
                _enforce_time_limit(run),
            )
        except ShutdownRequested:
            result.outcome = Outcome.RELEASED
        except StaleRun as error:
            # A schema sync that was restored from a backup has old fences, and catalog refuses them all. Who has the
            # lease nevertheless continues above catalog's; who has lost it cannot release the run.
            above = error.fencing_token or 0
            result.outcome, result.error = Outcome.RELEASED if above else Outcome.LOST, str(error)
        except LeaseLost as error:
            result.outcome, result.error = Outcome.LOST, str(error)
        except Exception as error:
            result.outcome, result.error = Outcome.FAILED, _describe(error, result)
        if result.outcome is Outcome.FAILED:
            tracing.fail_span(result.error or "")
        if not await _store(run, dependencies.db, result, above):
            result.outcome, result.error = Outcome.LOST, "another worker has the run"
    result.seconds = round(time.monotonic() - began, 3)
    _log_end(result)
    return result


async def _first_of(*coroutines: Coroutine[Any, Any, T]) -> T:
    """The result, or error, of what ends first; the rest is cancelled."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task.done()).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=timings.CANCELLATION)


async def _transfer(run: RunRow, dependencies: RunDependencies, result: RunResult) -> Counts:
    """Pages from the source into catalog, and the merge when all are there."""
    provider = dependencies.provider()
    try:
        staged = await dependencies.catalog.open(run.source, run.id, run.fence or 0)
        if not staged.complete:
            async for page in provider.pages(staged.cursor):
                await staged.stage(page)
                result.pages += 1
                result.counts = Counts(fetched=staged.staged + staged.rejected, rejected=staged.rejected)
                await _renew(run, dependencies.db, result)
                if dependencies.shutdown.is_set():
                    raise ShutdownRequested
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


async def _renew_lease(run: RunRow, dependencies: RunDependencies, result: RunResult) -> Counts:
    """Renew the lease until cancelled, however long a page or the merge takes."""
    while True:
        await asyncio.sleep(timings.RENEWAL)
        await _renew(run, dependencies.db, result)


async def _renew(run: RunRow, db: Postgres, result: RunResult) -> None:
    try:
        renewed = await runs.renew(db, run, pages=result.pages, counts=result.counts)
    except psycopg.OperationalError as error:
        # Nobody else can claim it meanwhile either, and the fence tells whether somebody did.
        log.warning("cannot renew the lease: %s", type(error).__name__, extra={"run_id": str(run.id)})
        return
    if not renewed:
        raise LeaseLost("another worker has the run")


async def _await_shutdown(dependencies: RunDependencies) -> Counts:
    """Give the page at hand some time once the process has to end."""
    await dependencies.shutdown.wait()
    await asyncio.sleep(timings.GRACE)
    raise ShutdownRequested


async def _enforce_time_limit(run: RunRow) -> Counts:
    # Counted from the first worker's start: a run that kills each of its workers has to end too. Our own clock may be
    # wrong; both times are the database's.
    spent = (run.heartbeat_at - run.started_at).total_seconds() if run.started_at and run.heartbeat_at else 0.0
    await asyncio.sleep(timings.RUN_LIMIT - spent)
    raise RunFailed(f"not done {timings.RUN_LIMIT // 60} minutes after its start")


def _describe(error: Exception, result: RunResult) -> str:
    """Why a run failed, for an admin."""
    if isinstance(error, ProviderError):
        text = f"page {result.pages + 1}: {type(error).__name__}: {error.detail}"
        return text if len(text) <= MAX_ERROR else f"{text[:MAX_ERROR]}..."
    if isinstance(error, RunFailed | CatalogUnavailable | CatalogRejected):
        return str(error)
    log.error("unexpected error in a run", exc_info=error)
    return f"page {result.pages + 1}: unexpected {type(error).__name__}; see the worker's log"


async def _store(run: RunRow, db: Postgres, result: RunResult, above: int) -> bool:
    """Write how the run ended; False if another worker has it. A released one continues with a fence over `above`."""
    if result.outcome is Outcome.LOST:
        return True
    if result.outcome is Outcome.RELEASED:
        return await runs.release(db, run, above=above)
    return await retry_while_unavailable(
        lambda: runs.finish(db, run, pages=result.pages, counts=result.counts, error=result.error)
    )


def _log_end(result: RunResult) -> None:
    fields = msgspec.to_builtins(result)
    fields = {name: fields[name] for name in ("run_id", "source", "attempt", "pages", "counts", "seconds")}
    if result.error:
        fields["error"] = result.error
    log.log(logging.WARNING if result.error else logging.INFO, "run %s", result.outcome, extra=fields)
