"""Stage, then merge: how a sync run's records become products.

A page's rows, its cursor and the check of the fencing token are one transaction, so a killed run goes on after its last
staged page and a worker that lost its lease is refused. The merge is one transaction, so readers see all of it at once.
"""

from uuid import UUID

import msgspec
from sqlalchemy import Row, Update, delete, func, null, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from catalog import staging
from catalog.errors import StaleImport
from catalog.models import Import, ImportReject, ImportRow
from imports.messages import Counts, ImportPage, ImportState, Staged

__all__ = ["merge", "open_run", "stage"]

# With more staged rows than this the planner needs fresh statistics of their table.
ANALYZE_ROWS = 5000
# Longer than for requests of clients: what holds the rows (a merge, an edit) ends, and sync can wait.
_WAIT_FOR_LOCKS = "SET LOCAL lock_timeout = '50s'"
_STATE = (
    Import.run_id, Import.fencing_token, Import.cursor, Import.complete, Import.staged, Import.rejected, Import.result,
)  # fmt: skip
State = Row[tuple[UUID, int, str | None, bool, int, int, dict[str, int] | None]]


async def open_run(session: AsyncSession, source: str, run_id: UUID, fencing_token: int) -> ImportState:
    """Begin a run, or resume it where its last staged page ended. A new run discards what an older one staged."""
    await session.execute(text(_WAIT_FOR_LOCKS))
    found = insert(Import).values(source=source, run_id=run_id, fencing_token=fencing_token)
    locked = found.on_conflict_do_update(index_elements=[Import.source], set_={"source": source})
    state = (await session.execute(locked.returning(*_STATE))).one()
    if fencing_token < state.fencing_token:
        raise StaleImport(f"The fencing token {fencing_token} is older than {state.fencing_token}.")
    if state.run_id == run_id:
        await session.execute(_change(source).values(fencing_token=fencing_token))
        return ImportState(cursor=state.cursor, staged=state.staged, rejected=state.rejected, complete=state.complete)
    await session.execute(delete(ImportRow).where(ImportRow.source == source))
    await session.execute(delete(ImportReject).where(ImportReject.source == source))
    begin = _change(source).values(run_id=run_id, fencing_token=fencing_token, cursor=None, complete=False)
    await session.execute(begin.values(staged=0, rejected=0, result=null()))
    return ImportState(cursor=None, staged=0, rejected=0, complete=False)


async def stage(session: AsyncSession, source: str, run_id: UUID, page: ImportPage) -> Staged:
    """Keep a page's records and move the cursor; a page that is staged already changes nothing."""
    state = await _locked(session, source, run_id, page.fencing_token)
    if state.complete or state.cursor != page.after:
        if page.cursor == state.cursor and (page.cursor is not None or state.complete):
            return Staged(staged=state.staged, rejected=state.rejected)
        raise StaleImport(f"The last staged page ended at {state.cursor!r}, this one follows {page.after!r}.")
    await staging.copy_items(session, source, page.items)
    await staging.copy_rejects(session, source, run_id, page.rejects)
    counts = Staged(staged=state.staged + len(page.items), rejected=state.rejected + len(page.rejects))
    advance = _change(source).values(cursor=page.cursor, complete=page.cursor is None)
    await session.execute(advance.values(staged=counts.staged, rejected=counts.rejected))
    return counts


async def merge(session: AsyncSession, source: str, run_id: UUID, fencing_token: int) -> Counts:
    """Make the staged records products in one transaction; a second call returns the result of the first."""
    state = await _locked(session, source, run_id, fencing_token)
    if state.result is not None:
        return Counts(**state.result)
    if not state.complete:
        raise StaleImport("The pass is incomplete: its last page is not staged. Nothing was merged.")
    of_source = ImportRow.source == source
    distinct = await session.scalar(select(func.count(ImportRow.external_id.distinct())).where(of_source))
    if state.staged > ANALYZE_ROWS:
        await staging.analyze(session)
    updated = await staging.update_changed_products(session, source)
    created = await staging.insert_new_products(session, source)
    counts = Counts(
        fetched=state.staged + state.rejected,
        created=created,
        updated=updated,
        unchanged=(distinct or 0) - created - updated,
        rejected=state.rejected,
    )
    await session.execute(delete(ImportRow).where(of_source))
    await session.execute(_change(source).values(result=msgspec.structs.asdict(counts)))
    return counts


async def _locked(session: AsyncSession, source: str, run_id: UUID, fencing_token: int) -> State:
    await session.execute(text(_WAIT_FOR_LOCKS))
    state = (await session.execute(select(*_STATE).where(Import.source == source).with_for_update())).one_or_none()
    if state is None or state.run_id != run_id or state.fencing_token != fencing_token:
        raise StaleImport("Another run or another worker has taken over.")
    return state


def _change(source: str) -> Update:
    return update(Import).where(Import.source == source).values(updated_at=func.now())
