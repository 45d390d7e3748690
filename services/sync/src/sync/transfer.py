"""What a run does with its source: pages into catalog, then a plan for an admin, or the changes themselves."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psycopg

from common.postgres import Postgres
from imports.counts import Counts
from sync import brake, leases, runs
from sync.catalog import CatalogClient, CatalogUnavailable, StaleRun
from sync.database import retry_while_unavailable
from sync.import_session import CatalogRejected, ImportSession
from sync.providers import ExternalAPIProvider, ProviderError
from sync.results import RunResult
from sync.runs import RunRow
from sync.settings import SyncSettings
from sync.sources import SourceRow
from sync.states import Kind, Mode, Outcome

__all__ = ["LOST", "LeaseLost", "RunDependencies", "RunFailed", "ShutdownRequested", "renew", "transfer"]

log = logging.getLogger(__name__)

LOST = "another worker has the run, or it was cancelled"


@dataclass(frozen=True)
class RunDependencies:
    """What a run works with. `shutdown` is set when the process has to end."""

    settings: SyncSettings
    db: Postgres
    catalog: CatalogClient
    provider: Callable[[SourceRow], ExternalAPIProvider]
    shutdown: asyncio.Event


class RunFailed(Exception):
    """The run ends here; the text tells an admin why. The next run goes on from here if it is `resumable`."""

    def __init__(self, detail: str, *, resumable: bool = False) -> None:
        super().__init__(detail)
        self.resumable = resumable


class LeaseLost(Exception):
    """Another worker has the run, or an admin has cancelled it."""


class ShutdownRequested(Exception):
    """This process has to end; another worker goes on."""


async def transfer(run: RunRow, source: SourceRow, dependencies: RunDependencies, result: RunResult) -> Outcome:
    """Succeeded, staged or held; `result` has the progress meanwhile, and in the end the counts."""
    session = await dependencies.catalog.open(source.product_source, run.pass_of, run.fence or 0)
    planned = run.approved or run.kind is Kind.REVERT
    if run.approved or session.applying:
        return await _apply(run, source, session, dependencies, result, planned=planned)
    if run.kind is Kind.REVERT:
        await _plan_revert(run, session, dependencies, result)
        if run.mode is Mode.PLAN:
            return Outcome.STAGED
        return await _apply(run, source, session, dependencies, result, planned=planned)
    try:
        await _read(run, source, session, dependencies, result)
    except (RunFailed, ProviderError) as error:
        if not (error.retryable if isinstance(error, ProviderError) else error.resumable):
            # Nobody goes on from there.
            with suppress(CatalogUnavailable, CatalogRejected, StaleRun):
                await session.discard()
        raise
    if run.mode is Mode.PLAN or not source.auto_apply:
        result.counts = await session.plan(source.missing, result.set_counts)
        return Outcome.STAGED
    result.held_for = await _reason_to_hold(source, session)
    if result.held_for:
        result.counts = await session.plan(source.missing, result.set_counts)
        return Outcome.HELD
    return await _apply(run, source, session, dependencies, result, planned=planned)


async def renew(run: RunRow, db: Postgres, result: RunResult) -> None:
    """Extend the lease and store the progress; raises LeaseLost."""
    try:
        renewed = await leases.renew(db, run, pages=result.pages, counts=result.counts)
    except psycopg.OperationalError as error:
        # Nobody else can claim it meanwhile either, and the fence tells whether somebody did.
        log.warning("cannot renew the lease: %s", type(error).__name__, extra={"run_id": str(run.id)})
        return
    if not renewed:
        raise LeaseLost(LOST)


async def _read(
    run: RunRow, source: SourceRow, session: ImportSession, dependencies: RunDependencies, result: RunResult
) -> None:
    """Stage what is not staged yet."""
    provider = dependencies.provider(source)
    try:
        if not session.complete:
            async for page in provider.pages(session.cursor):
                await session.stage(page)
                result.pages += 1
                result.counts = Counts(fetched=session.staged + session.rejected, rejected=session.rejected)
                await renew(run, dependencies.db, result)
                if dependencies.shutdown.is_set():
                    raise ShutdownRequested
    except SystemExit:
        raise RunFailed("the provider tried to end the worker") from None
    finally:
        await provider.aclose()
    if not session.complete:
        raise RunFailed("the provider stopped before its last page")


async def _reason_to_hold(source: SourceRow, session: ImportSession) -> str | None:
    """Raises RunFailed if what there is is no catalog at all, and there is none yet that it could damage."""
    comparison = await session.compare(source.missing)
    fetched = session.staged + session.rejected
    # The first pass is not held: there is nothing that an admin could compare it with. Nor can a catalog of the release
    # before hold one.
    if (comparison is None or not comparison.live) and brake.unusable(session.rejected, fetched, source.brake.rejected):
        raise RunFailed(f"{session.rejected} of {fetched} records are unusable: nothing was merged")
    return brake.reason_to_hold(comparison, source.brake) if comparison else None


async def _plan_revert(run: RunRow, session: ImportSession, dependencies: RunDependencies, result: RunResult) -> None:
    undone = await retry_while_unavailable(lambda: runs.find_pass(dependencies.db, run.reverts))
    if undone is None:
        raise RunFailed("the run to revert is not kept any more")
    result.counts = await session.plan_revert(undone, result.set_counts)


async def _apply(
    run: RunRow,
    source: SourceRow,
    session: ImportSession,
    dependencies: RunDependencies,
    result: RunResult,
    *,
    planned: bool,
) -> Outcome:
    """Write the changes of the pass, or exactly those that were planned."""
    if not await retry_while_unavailable(lambda: leases.begin_applying(dependencies.db, run)):
        raise LeaseLost(LOST)
    result.counts = await session.apply(source.missing, planned=planned, on_progress=result.set_counts)
    return Outcome.SUCCEEDED
