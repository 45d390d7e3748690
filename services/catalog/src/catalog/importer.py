"""Stage, then merge: how a sync run's records become products.

A page's rows, its cursor and the check of the fencing token are one transaction, so a killed run goes on after its last
staged page and a worker that lost its lease is refused. The merge is one transaction, so readers see all of it at once.
"""

from typing import NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, delete, func, null, select, update
from sqlalchemy.dialects.postgresql import insert

from catalog import staging
from catalog.errors import StaleImport
from catalog.models import Import, ImportReject, ImportRow
from common.web.compiled import CompiledQuery, jsonb
from common.web.database import Transaction
from imports.messages import Counts, ImportPage, ImportState, Staged

__all__ = ["merge", "open_run", "stage"]

# With more staged rows than this the planner needs fresh statistics of their table.
ANALYZE_ROWS = 5000
# Longer than for requests of clients: what holds the rows (a merge, an edit) ends, and sync can wait.
_WAIT_FOR_LOCKS = "SET LOCAL lock_timeout = '50s'"
_STATE = (
    Import.run_id, Import.fencing_token, Import.cursor, Import.complete, Import.staged, Import.rejected, Import.result,
)  # fmt: skip
_CHANGE = update(Import).where(Import.source == bindparam("of_source")).values(updated_at=func.now())


_NEW = insert(Import).values({name: bindparam(name) for name in ("source", "run_id", "fencing_token")})
# Locks the row that is there.
_SAME = _NEW.on_conflict_do_update(index_elements=[Import.source], set_={"source": _NEW.excluded.source})
_OPEN = CompiledQuery(_SAME.returning(*_STATE))
_LOCK = CompiledQuery(select(*_STATE).where(Import.source == bindparam("source")).with_for_update())
_RESUME = CompiledQuery(_CHANGE.values(fencing_token=bindparam("fencing_token")))
_BEGIN = CompiledQuery(
    _CHANGE.values(
        run_id=bindparam("run_id"),
        fencing_token=bindparam("fencing_token"),
        cursor=null(),
        complete=False,
        staged=0,
        rejected=0,
        result=null(),
    )
)
_ADVANCE = CompiledQuery(
    _CHANGE.values({name: bindparam(name) for name in ("cursor", "complete", "staged", "rejected")})
)
_STORE_RESULT = CompiledQuery(_CHANGE.values(result=bindparam("result")))
_DELETE_ROWS = CompiledQuery(delete(ImportRow).where(ImportRow.source == bindparam("source")))
_DELETE_REJECTS = CompiledQuery(delete(ImportReject).where(ImportReject.source == bindparam("source")))
_COUNT = CompiledQuery(
    select(func.count(ImportRow.external_id.distinct())).where(ImportRow.source == bindparam("source"))
)


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
    (row,) = await _OPEN.fetch(transaction, source=source, run_id=run_id, fencing_token=fencing_token)
    state = State(*row)
    if fencing_token < state.fencing_token:
        raise StaleImport(f"The fencing token {fencing_token} is older than {state.fencing_token}.")
    if state.run_id == run_id:
        await _RESUME.execute(transaction, of_source=source, fencing_token=fencing_token)
        return ImportState(cursor=state.cursor, staged=state.staged, rejected=state.rejected, complete=state.complete)
    await _DELETE_ROWS.execute(transaction, source=source)
    await _DELETE_REJECTS.execute(transaction, source=source)
    await _BEGIN.execute(transaction, of_source=source, run_id=run_id, fencing_token=fencing_token)
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
    await _ADVANCE.execute(transaction, of_source=source, **position, staged=counts.staged, rejected=counts.rejected)
    return counts


async def merge(transaction: Transaction, source: str, run_id: UUID, fencing_token: int) -> Counts:
    """Make the staged records products in one transaction; a second call returns the result of the first."""
    state = await _locked(transaction, source, run_id, fencing_token)
    if state.result is not None:
        return Counts(**state.result)
    if not state.complete:
        raise StaleImport("The pass is incomplete: its last page is not staged. Nothing was merged.")
    ((distinct,),) = await _COUNT.fetch(transaction, source=source)
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
    await _DELETE_ROWS.execute(transaction, source=source)
    await _STORE_RESULT.execute(transaction, of_source=source, result=jsonb(msgspec.structs.asdict(counts)))
    return counts


async def _locked(transaction: Transaction, source: str, run_id: UUID, fencing_token: int) -> State:
    await transaction.execute(_WAIT_FOR_LOCKS)
    rows = await _LOCK.fetch(transaction, source=source)
    state = State(*rows[0]) if rows else None
    if state is None or state.run_id != run_id or state.fencing_token != fencing_token:
        raise StaleImport("Another run or another worker has taken over.")
    return state
