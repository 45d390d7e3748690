"""Stage, then merge: how a sync run's records become products.

A page's rows, its cursor and the check of the fencing token are one transaction, so a killed run goes on after its last
staged page and a worker that lost its lease is refused. The merge is one transaction, so readers see all of it at once.
"""

from typing import NamedTuple
from uuid import UUID

import msgspec

from catalog import staging
from catalog.errors import StaleImport
from common.web.compiled import jsonb, load_statements
from common.web.database import Transaction
from imports.counts import Counts
from imports.messages import ImportPage, ImportState, Staged

__all__ = ["merge", "open_run", "stage"]

# With more staged rows than this the planner needs fresh statistics of their table.
ANALYZE_ROWS = 5000
# Longer than for requests of clients: what holds the rows (a merge, an edit) ends, and sync can wait.
_WAIT_FOR_LOCKS = "SET LOCAL lock_timeout = '50s'"
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
    """Begin a run, or resume it where its last staged page ended. A new run discards what an older one staged."""
    await transaction.execute(_WAIT_FOR_LOCKS)
    (row,) = await _STATEMENTS["open_import"].fetch(
        transaction, source=source, run_id=run_id, fencing_token=fencing_token
    )
    state = State(*row)
    if fencing_token < state.fencing_token:
        raise StaleImport(
            f"The fencing token {fencing_token} is older than {state.fencing_token}.", fence=state.fencing_token
        )
    if state.run_id == run_id:
        await _STATEMENTS["resume_import"].execute(transaction, of_source=source, fencing_token=fencing_token)
        return ImportState(cursor=state.cursor, staged=state.staged, rejected=state.rejected, complete=state.complete)
    await _STATEMENTS["delete_staged_rows"].execute(transaction, source=source)
    await _STATEMENTS["delete_rejects"].execute(transaction, source=source)
    await _STATEMENTS["begin_import"].execute(transaction, of_source=source, run_id=run_id, fencing_token=fencing_token)
    return ImportState(cursor=None, staged=0, rejected=0, complete=False)


async def stage(transaction: Transaction, source: str, run_id: UUID, page: ImportPage) -> Staged:
    """Keep a page's records and move the cursor; a page that is staged already changes nothing."""
    state = await _locked(transaction, source, run_id, page.fencing_token)
    if state.complete or state.cursor != page.after:
        if page.cursor == state.cursor and (page.cursor is not None or state.complete):
            return Staged(staged=state.staged, rejected=state.rejected)
        raise StaleImport(f"The last staged page ended at {state.cursor!r}, this one follows {page.after!r}.")
    await staging.copy_items(transaction, source, page.items)
    await staging.copy_rejects(transaction, source, run_id, page.rejects)
    counts = Staged(staged=state.staged + len(page.items), rejected=state.rejected + len(page.rejects))
    position = {"cursor": page.cursor, "complete": page.cursor is None}
    await _STATEMENTS["advance_import"].execute(
        transaction, of_source=source, **position, staged=counts.staged, rejected=counts.rejected
    )
    return counts


async def merge(transaction: Transaction, source: str, run_id: UUID, fencing_token: int) -> Counts:
    """Make the staged records products in one transaction; a second call returns the result of the first."""
    state = await _locked(transaction, source, run_id, fencing_token)
    if state.result is not None:
        # Another release may have stored it, with other numbers.
        return msgspec.convert(state.result, Counts)
    if not state.complete:
        raise StaleImport("The pass is incomplete: its last page is not staged. Nothing was merged.")
    ((distinct,),) = await _STATEMENTS["count_staged"].fetch(transaction, source=source)
    if state.staged > ANALYZE_ROWS:
        await staging.analyze(transaction)
    updated = await staging.update_changed_products(transaction, source)
    created = await staging.insert_new_products(transaction, source)
    counts = Counts(
        fetched=state.staged + state.rejected,
        created=created,
        updated=updated,
        unchanged=distinct - created - updated,
        rejected=state.rejected,
    )
    await _STATEMENTS["delete_staged_rows"].execute(transaction, source=source)
    await _STATEMENTS["store_import_result"].execute(
        transaction, of_source=source, result=jsonb(msgspec.structs.asdict(counts))
    )
    return counts


async def _locked(transaction: Transaction, source: str, run_id: UUID, fencing_token: int) -> State:
    await transaction.execute(_WAIT_FOR_LOCKS)
    rows = await _STATEMENTS["lock_import"].fetch(transaction, source=source)
    state = State(*rows[0]) if rows else None
    if state is None or state.run_id != run_id or state.fencing_token != fencing_token:
        raise StaleImport("Another run or another worker has taken over.")
    return state
