"""The SQL of imports that is not written with SQLAlchemy: COPY and the merge.

COPY is the fastest way to load a page. The merge compares and writes all rows of a source in two statements, whose
plans matter more than any other's: as text they can be read, explained and tried in psql as they run.
"""

from uuid import UUID

from common.json_encoding import dumps
from common.web.database import Transaction
from imports.messages import Reject
from imports.product import FIELDS, ExternalProduct

__all__ = ["analyze", "copy_items", "copy_rejects", "insert_new_products", "update_changed_products"]

_COPY_ITEMS = f"COPY catalog.import_rows (source, external_id, {', '.join(FIELDS)}) FROM STDIN"
_COPY_REJECTS = "COPY catalog.import_rejects (source, run_id, external_id, reason, payload) FROM STDIN"
_STAGED = "SELECT DISTINCT ON (external_id) * FROM catalog.import_rows WHERE source = %s ORDER BY external_id, id DESC"
# A pinned field keeps its value.
_KEPT = {field: f"CASE WHEN '{field}' = ANY (p.pinned) THEN p.{field} ELSE s.{field} END" for field in FIELDS}
# Equal rows are neither written nor locked: their xmin, version and updated_at stay.
_UPDATE = f"""
    WITH s AS ({_STAGED})
    UPDATE catalog.products AS p
    SET {", ".join(f"{field} = {kept}" for field, kept in _KEPT.items())},
        version = p.version + 1, updated_at = now(), synced_at = now()
    FROM s
    WHERE p.source = s.source AND p.external_id = s.external_id AND p.deleted_at IS NULL
        AND ({", ".join(f"p.{field}" for field in FIELDS)}) IS DISTINCT FROM ({", ".join(_KEPT.values())})
"""  # noqa: S608  # the names of our own fields
_INSERT = f"""
    WITH s AS ({_STAGED})
    INSERT INTO catalog.products (source, external_id, {", ".join(FIELDS)}, synced_at)
    SELECT s.source, s.external_id, {", ".join(f"s.{field}" for field in FIELDS)}, now()
    FROM s
    WHERE NOT EXISTS (
        SELECT FROM catalog.products AS p WHERE p.source = s.source AND p.external_id = s.external_id
    )
    ORDER BY s.id
"""  # noqa: S608  # the names of our own fields


async def copy_items(transaction: Transaction, source: str, items: list[ExternalProduct]) -> None:
    rows = []
    for item in items:
        fields = {field: getattr(item, field) for field in FIELDS}
        fields["attributes"] = dumps(item.attributes).decode()
        rows.append((source, item.external_id, *fields.values()))
    await transaction.copy(_COPY_ITEMS, rows)


async def copy_rejects(transaction: Transaction, source: str, run_id: UUID, rejects: list[Reject]) -> None:
    rows = [(source, run_id, reject.external_id, reject.reason, reject.payload) for reject in rejects]
    await transaction.copy(_COPY_REJECTS, rows)


async def analyze(transaction: Transaction) -> None:
    """Update the planner's statistics: the plan depends on the rows, and autovacuum has not seen them yet."""
    await transaction.execute("ANALYZE catalog.import_rows")


async def update_changed_products(transaction: Transaction, source: str) -> int:
    """Write the staged values that differ into the live products of a source; returns how many products changed."""
    return await transaction.execute(_UPDATE, [source])


async def insert_new_products(transaction: Transaction, source: str) -> int:
    """Create products of the staged records with new external ids (not those of deleted ones); returns how many."""
    return await transaction.execute(_INSERT, [source])
