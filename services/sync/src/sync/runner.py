"""A run, from the claim to its end."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from common import tracing
from common.postgres import Postgres
from sync import leases, sources, timings
from sync.catalog import CatalogRejected, CatalogUnavailable, StaleRun
from sync.database import retry_while_unavailable
from sync.providers import ProviderError
from sync.results import RunResult
from sync.runs import RunRow
from sync.sources import SourceRow
from sync.states import Outcome, RunState
from sync.transfer import LOST, LeaseLost, RunDependencies, RunFailed, ShutdownRequested, renew, transfer

__all__ = ["RunDependencies", "execute"]

log = logging.getLogger(__name__)

# A provider may say anything in its errors.
MAX_ERROR = 2000

T = TypeVar("T")


async def execute(run_id: UUID, dependencies: RunDependencies) -> RunResult:
    """Do a run, if it needs a worker. May be done twice and cut off anywhere: staging and merge are safe."""
    began = time.monotonic()
    run = await retry_while_unavailable(lambda: leases.claim(dependencies.db, dependencies.settings, run_id))
    if run is None:
        return RunResult(run_id=run_id, outcome=Outcome.SKIPPED)
    source = await retry_while_unavailable(lambda: sources.find(dependencies.db, run.source))
    assert source is not None, "a run belongs to a source, whose row stays"
    result = RunResult(run_id=run.id, source=run.source, pages=run.pages, attempt=run.attempt)
    above = 0
    log.info("run started", extra={"run_id": str(run.id), "source": run.source, "attempt": run.attempt})
    with tracing.span("sync.run", traceparent=run.traceparent, source=run.source, run_id=str(run.id)):
        try:
            result.outcome = await _first_of(
                transfer(run, source, dependencies, result),
                _renew_lease(run, dependencies, result),
                _await_shutdown(dependencies),
                _enforce_time_limit(run, source),
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
            _fail(result, error)
        if result.outcome is Outcome.FAILED:
            tracing.fail_span(result.error or "")
        if not await _store(run, dependencies.db, result, above):
            result.outcome, result.error = Outcome.LOST, LOST
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


async def _renew_lease(run: RunRow, dependencies: RunDependencies, result: RunResult) -> Outcome:
    """Renew the lease until cancelled, however long a page or the merge takes."""
    while True:
        await asyncio.sleep(timings.RENEWAL)
        await renew(run, dependencies.db, result)


async def _await_shutdown(dependencies: RunDependencies) -> Outcome:
    """Give the page at hand some time once the process has to end."""
    await dependencies.shutdown.wait()
    await asyncio.sleep(timings.GRACE)
    raise ShutdownRequested


async def _enforce_time_limit(run: RunRow, source: SourceRow) -> Outcome:
    # Counted from the first worker's start: a run that kills each of its workers has to end too. Our own clock may be
    # wrong; both times are the database's.
    spent = (run.heartbeat_at - run.started_at).total_seconds() if run.started_at and run.heartbeat_at else 0.0
    limit = source.limits.time_limit_minutes
    await asyncio.sleep(min(limit * 60, timings.RUN_LIMIT) - spent)
    raise RunFailed(f"not done {limit} minutes after its start: the next run goes on from here", resumable=True)


def _fail(result: RunResult, error: Exception) -> None:
    result.outcome, result.error = Outcome.FAILED, _describe(error, result)
    match error:
        case ProviderError():
            result.resumable, result.retry_after = error.retryable, error.retry_after
        case RunFailed():
            result.resumable = error.resumable
        case CatalogUnavailable():
            result.resumable = True


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
        return await leases.release(db, run, above=above)
    if result.outcome in (Outcome.STAGED, Outcome.HELD):
        state = RunState(result.outcome)
        return await retry_while_unavailable(
            lambda: leases.wait_for_admin(
                db, run, state, pages=result.pages, counts=result.counts, held_for=result.held_for
            )
        )
    return await retry_while_unavailable(
        lambda: leases.finish(
            db,
            run,
            pages=result.pages,
            counts=result.counts,
            error=result.error,
            resumable=result.resumable,
            retry_after=result.retry_after,
        )
    )


def _log_end(result: RunResult) -> None:
    fields = msgspec.to_builtins(result)
    fields = {name: fields[name] for name in ("run_id", "source", "attempt", "pages", "counts", "seconds")}
    told = {"error": result.error, "held_for": result.held_for}
    fields |= {name: text for name, text in told.items() if text}
    log.log(
        logging.WARNING if result.error or result.held_for else logging.INFO, "run %s", result.outcome, extra=fields
    )
