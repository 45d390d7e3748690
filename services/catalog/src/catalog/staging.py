"""COPY: the fastest way to load a page of a pass."""

from uuid import UUID

from common.json_encoding import dumps
from common.web.database import Transaction
from imports.messages import Reject
from imports.product import FIELDS, ExternalProduct

__all__ = ["copy_items", "copy_rejects"]

_COPY_ITEMS = f"COPY catalog.import_rows (source, external_id, {', '.join(FIELDS)}) FROM STDIN"
_COPY_REJECTS = "COPY catalog.import_rejects (source, run_id, external_id, reason, payload, position) FROM STDIN"


async def copy_items(transaction: Transaction, source: str, items: list[ExternalProduct]) -> None:
    rows = []
    for item in items:
        fields = {field: getattr(item, field) for field in FIELDS}
        fields["attributes"] = dumps(item.attributes).decode()
        rows.append((source, item.external_id, *fields.values()))
    await transaction.copy(_COPY_ITEMS, rows)


async def copy_rejects(transaction: Transaction, source: str, run_id: UUID, rejects: list[Reject]) -> None:
    rows = [(source, run_id, it.external_id, it.reason, it.payload, it.position) for it in rejects]
    await transaction.copy(_COPY_REJECTS, rows)
