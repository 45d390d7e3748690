"""Stage, then merge: how a sync run's records become products.

A page's rows, its cursor and the fence check are one transaction, so a killed run goes on after its last staged
page and a worker that lost its lease is refused. The merge is one transaction, so readers see one switch.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from catalog.changes import FIELDS
from catalog.errors import StaleImport
from common.json_encoding import dumps
from imports.messages import Counts, ImportPage, ImportState, Staged

__all__ = ["merge", "open_run", "stage"]

# Nobody waits for an answer here, and what holds the rows (a merge, an edit) comes to its end.
_WAIT_FOR_LOCKS = "SET LOCAL lock_timeout = '50s'"
_OPEN = """
    INSERT INTO catalog.imports (source, run_id, fence) VALUES (:source, :run_id, :fence)
    ON CONFLICT (source) DO UPDATE SET source = excluded.source
    RETURNING run_id, fence, cursor, complete, staged, rejected, result
"""
_LOCK = """
    SELECT run_id, fence, cursor, complete, staged, rejected, result
    FROM catalog.imports WHERE source = :source FOR UPDATE
"""
_RESTART = """
    UPDATE catalog.imports SET run_id = :run_id, fence = :fence, cursor = NULL, complete = false, staged = 0,
        rejected = 0, result = NULL, updated_at = now()
    WHERE source = :source
"""
_ADVANCE = """
    UPDATE catalog.imports SET cursor = :cursor, complete = CAST(:cursor AS text) IS NULL, staged = staged + :staged,
        rejected = rejected + :rejected, updated_at = now()
    WHERE source = :source
    RETURNING staged, rejected
"""
_COPY_COLUMNS = ("source", "external_id", *FIELDS)
_STAGED = (
    "SELECT DISTINCT ON (external_id) * FROM catalog.import_rows WHERE source = :source ORDER BY external_id, id DESC"
)
# A pinned field keeps its value, whatever the source says.
_KEPT = {field: f"CASE WHEN '{field}' = ANY (p.pinned) THEN p.{field} ELSE s.{field} END" for field in FIELDS}
# Rows that stay as they are, are not written and not locked: their xmin, version and updated_at remain.
_UPDATE = f"""
    WITH s AS ({_STAGED})
    UPDATE catalog.products AS p
    SET {", ".join(f"{field} = {kept}" for field, kept in _KEPT.items())},
        version = p.version + 1, updated_at = now(), synced_at = now()
    FROM s
    WHERE p.source = s.source AND p.external_id = s.external_id AND p.deleted_at IS NULL
        AND ({", ".join(f"p.{field}" for field in FIELDS)}) IS DISTINCT FROM ({", ".join(_KEPT.values())})
"""  # noqa: S608
_INSERT = f"""
    WITH s AS ({_STAGED})
    INSERT INTO catalog.products (source, external_id, {", ".join(FIELDS)}, synced_at)
    SELECT s.source, s.external_id, {", ".join(f"s.{field}" for field in FIELDS)}, now()
    FROM s
    WHERE NOT EXISTS (
        SELECT FROM catalog.products AS p WHERE p.source = s.source AND p.external_id = s.external_id
    )
    ORDER BY s.id
"""  # noqa: S608


async def open_run(session: AsyncSession, source: str, run_id: UUID, fence: int) -> ImportState:
    """Begin a run, or resume it where its last staged page ended. A new run discards what an older one staged."""
    await session.execute(text(_WAIT_FOR_LOCKS))
    state = (await session.execute(text(_OPEN), {"source": source, "run_id": run_id, "fence": fence})).one()
    if fence < state.fence:
        raise StaleImport(f"Fence {fence} is older than {state.fence}.")
    if state.run_id == run_id:
        await session.execute(
            text("UPDATE catalog.imports SET fence = :fence WHERE source = :source"), {"source": source, "fence": fence}
        )
        return ImportState(cursor=state.cursor, staged=state.staged, rejected=state.rejected, complete=state.complete)
    for table in ("import_rows", "import_rejects"):
        await session.execute(text(f"DELETE FROM catalog.{table} WHERE source = :source"), {"source": source})  # noqa: S608
    await session.execute(text(_RESTART), {"source": source, "run_id": run_id, "fence": fence})
    return ImportState(cursor=None, staged=0, rejected=0, complete=False)


async def stage(session: AsyncSession, source: str, run_id: UUID, page: ImportPage) -> Staged:
    """Keep a page's records and move the cursor; a page that is staged already changes nothing."""
    state = await _locked(session, source, run_id, page.fencing_token)
    if state.complete or state.cursor != page.after:
        if page.cursor == state.cursor and (page.cursor is not None or state.complete):
            return Staged(staged=state.staged, rejected=state.rejected)
        raise StaleImport(f"The last staged page ended at {state.cursor!r}, this one follows {page.after!r}.")
    await _copy(session, source, run_id, page)
    parameters = {
        "source": source, "cursor": page.cursor, "staged": len(page.items), "rejected": len(page.rejects),
    }  # fmt: skip
    return Staged(**(await session.execute(text(_ADVANCE), parameters)).one()._mapping)


async def _copy(session: AsyncSession, source: str, run_id: UUID, page: ImportPage) -> None:
    driver = (await (await session.connection()).get_raw_connection()).driver_connection
    assert driver is not None
    async with driver.cursor() as cursor:
        async with cursor.copy(f"COPY catalog.import_rows ({', '.join(_COPY_COLUMNS)}) FROM STDIN") as copy:
            for item in page.items:
                values = {field: getattr(item, field) for field in FIELDS}
                values["attributes"] = dumps(item.attributes).decode()
                await copy.write_row((source, item.external_id, *values.values()))
        columns = "source, run_id, external_id, reason, payload"
        async with cursor.copy(f"COPY catalog.import_rejects ({columns}) FROM STDIN") as copy:
            for reject in page.rejects:
                await copy.write_row((source, run_id, reject.external_id, reject.reason, reject.payload))


async def merge(session: AsyncSession, source: str, run_id: UUID, fence: int) -> Counts:
    """Make the staged records products, in one switch; a second call returns what the first did."""
    state = await _locked(session, source, run_id, fence)
    if state.result is not None:
        return Counts(**state.result)
    if not state.complete:
        raise StaleImport("The pass is incomplete: its last page is not staged. Nothing was merged.")
    parameters = {"source": source}
    distinct = await session.scalar(
        text("SELECT count(DISTINCT external_id) FROM catalog.import_rows WHERE source = :source"), parameters
    )
    if state.staged > 5000:
        # Autovacuum has not seen these rows yet, and the plan depends on how many there are.
        await session.execute(text("ANALYZE catalog.import_rows"))
    updated = (await session.execute(text(_UPDATE), parameters)).rowcount  # type: ignore[attr-defined]
    created = (await session.execute(text(_INSERT), parameters)).rowcount  # type: ignore[attr-defined]
    result = Counts(
        fetched=state.staged + state.rejected,
        created=created,
        updated=updated,
        unchanged=(distinct or 0) - created - updated,
        rejected=state.rejected,
    )
    await session.execute(text("DELETE FROM catalog.import_rows WHERE source = :source"), parameters)
    await session.execute(
        text("UPDATE catalog.imports SET result = CAST(:result AS jsonb), updated_at = now() WHERE source = :source"),
        parameters | {"result": dumps(result).decode()},
    )
    return result


async def _locked(session: AsyncSession, source: str, run_id: UUID, fence: int) -> Any:
    await session.execute(text(_WAIT_FOR_LOCKS))
    state = (await session.execute(text(_LOCK), {"source": source})).one_or_none()
    if state is None or state.run_id != run_id or state.fence != fence:
        raise StaleImport("Another run or another worker has taken over.")
    return state
