"""Staging: how a sync run's records come in, before `catalog.steps` makes products of them.

A page's rows, its cursor and the check of the fencing token are one transaction, so a killed run goes on after its last
staged page and a worker that lost its lease is refused.
"""

from typing import NamedTuple
from uuid import UUID

from catalog import differences, plans, staging
from catalog.errors import StaleImport
from common.web.compiled import load_statements
from common.web.database import Transaction
from imports.messages import Comparison, ImportPage, ImportState, MissingPolicy, Staged

__all__ = ["State", "check_complete", "check_staged", "compare", "discard", "locked", "open_run", "stage"]

_WAIT_FOR_LOCKS = f"SET LOCAL lock_timeout = '{plans.LOCK_TIMEOUT}'"
# The phases of a run (`catalog.steps`) that need nothing of what was staged.
WITHOUT_STAGED = ("planned", "reverting", "executing", "removing", "applied")
# Those in which products change, or have changed.
WRITING = ("applying", "executing", "removing", "applied")
_STATEMENTS = load_statements("catalog")


class State(NamedTuple):
    """A row of `catalog.imports`."""

    run_id: UUID
    fencing_token: int
    cursor: str | None
    complete: bool
    staged: int
    rejected: int
    result: dict[str, int] | None


async def open_run(transaction: Transaction, source: str, run_id: UUID, fencing_token: int) -> ImportState:
    """Begin a run, or resume it where its last staged page ended. A new run discards what an older one staged.

    A run whose staged rows were lost, in a crash of PostgreSQL, begins anew.
    """
    await transaction.execute(_WAIT_FOR_LOCKS)
    (row,) = await _STATEMENTS["open_import"].fetch(
        transaction, source=source, run_id=run_id, fencing_token=fencing_token
    )
    state = State(*row)
    if fencing_token < state.fencing_token:
        raise StaleImport(
            f"The fencing token {fencing_token} is older than {state.fencing_token}.", fence=state.fencing_token
        )
    phase = await _phase(transaction, run_id)
    if state.run_id == run_id and await _can_resume(transaction, source, state, phase):
        await _STATEMENTS["resume_import"].execute(transaction, of_source=source, fencing_token=fencing_token)
        return ImportState(
            cursor=state.cursor,
            staged=state.staged,
            rejected=state.rejected,
            complete=state.complete,
            applying=state.result is not None or phase in WRITING,
        )
    await _begin(transaction, source, run_id, fencing_token)
    return ImportState(cursor=None, staged=0, rejected=0, complete=False)


async def stage(transaction: Transaction, source: str, run_id: UUID, page: ImportPage) -> Staged:
    """Keep a page's records and move the cursor; a page that is staged already changes nothing."""
    state = await locked(transaction, source, run_id, page.fencing_token)
    if state.complete or state.cursor != page.after:
        if page.cursor == state.cursor and (page.cursor is not None or state.complete):
            return Staged(staged=state.staged, rejected=state.rejected)
        raise StaleImport(f"The last staged page ended at {state.cursor!r}, this one follows {page.after!r}.")
    await check_staged(transaction, source, state)
    await staging.copy_items(transaction, source, page.items)
    await staging.copy_rejects(transaction, source, run_id, page.rejects)
    counts = Staged(staged=state.staged + len(page.items), rejected=state.rejected + len(page.rejects))
    position = {"cursor": page.cursor, "complete": page.cursor is None}
    await _STATEMENTS["advance_import"].execute(
        transaction, of_source=source, **position, staged=counts.staged, rejected=counts.rejected
    )
    return counts


async def compare(
    transaction: Transaction, source: str, run_id: UUID, fencing_token: int, missing: MissingPolicy
) -> Comparison:
    """What applying the complete pass would do; writes nothing and locks nothing."""
    state = await _checked(transaction, "read_import", source, run_id, fencing_token)
    await check_complete(transaction, source, state)
    return await differences.compare(transaction, source, run_id, missing, staged=state.staged, rejected=state.rejected)


async def discard(transaction: Transaction, source: str, run_id: UUID, fencing_token: int) -> Staged:
    """Delete what the run has staged and planned; its rejects are kept until it begins anew."""
    state = await locked(transaction, source, run_id, fencing_token)
    await _STATEMENTS["delete_staged_rows"].execute(transaction, source=source)
    if state.result is None:
        await _forget_plan(transaction, run_id)
        await _STATEMENTS["advance_import"].execute(
            transaction, of_source=source, cursor=None, complete=False, staged=0, rejected=0
        )
    return Staged(staged=0, rejected=state.rejected)


async def locked(transaction: Transaction, source: str, run_id: UUID, fencing_token: int) -> State:
    """The state of the run, locked; raises StaleImport for another run or worker."""
    await transaction.execute(_WAIT_FOR_LOCKS)
    return await _checked(transaction, "lock_import", source, run_id, fencing_token)


async def check_staged(transaction: Transaction, source: str, state: State) -> None:
    """Raises StaleImport if PostgreSQL has crashed since a page was staged, in which case none of its rows is left."""
    if state.staged:
        ((has_staged,),) = await _STATEMENTS["has_staged"].fetch(transaction, source=source)
        if not has_staged:
            raise _lost(state)


async def check_complete(transaction: Transaction, source: str, state: State) -> None:
    """Raises StaleImport unless every record of the pass is staged, and still there."""
    if not state.complete:
        raise StaleImport("The pass is incomplete: its last page is not staged. Nothing was merged.")
    if not await _has_all(transaction, source, state):
        raise _lost(state)


async def _checked(transaction: Transaction, statement: str, source: str, run_id: UUID, fencing_token: int) -> State:
    rows = await _STATEMENTS[statement].fetch(transaction, source=source)
    state = State(*rows[0]) if rows else None
    if state is None or state.run_id != run_id or state.fencing_token != fencing_token:
        raise StaleImport("Another run or another worker has taken over.")
    return state


async def _phase(transaction: Transaction, run_id: UUID) -> str | None:
    rows = await _STATEMENTS["read_import_run"].fetch(transaction, run_id=run_id)
    return rows[0][1] if rows else None


async def _can_resume(transaction: Transaction, source: str, state: State, phase: str | None) -> bool:
    """Whether a run has come anywhere, and all that it goes on from is there: its plan, or what it has staged."""
    if state.result is not None or phase in WITHOUT_STAGED:
        return True
    return (state.complete or state.cursor is not None) and await _has_all(transaction, source, state)


async def _has_all(transaction: Transaction, source: str, state: State) -> bool:
    ((staged,),) = await _STATEMENTS["count_staged"].fetch(transaction, source=source)
    return bool(staged == state.staged)


def _lost(state: State) -> StaleImport:
    # With its own fence, so that the worker lets the run go, and whoever takes it next begins it anew.
    return StaleImport("PostgreSQL has lost what was staged: the pass begins anew.", fence=state.fencing_token)


async def _begin(transaction: Transaction, source: str, run_id: UUID, fencing_token: int) -> None:
    await _STATEMENTS["delete_staged_rows"].execute(transaction, source=source)
    await _STATEMENTS["delete_rejects"].execute(transaction, source=source, run_id=run_id)
    await _forget_plan(transaction, run_id)
    await _STATEMENTS["begin_import"].execute(transaction, of_source=source, run_id=run_id, fencing_token=fencing_token)


async def _forget_plan(transaction: Transaction, run_id: UUID) -> None:
    """What the run has applied already stays known, so that it can be reverted."""
    await _STATEMENTS["delete_unapplied_changes"].execute(transaction, run_id=run_id)
    await _STATEMENTS["stop_import_run"].execute(transaction, run_id=run_id)
