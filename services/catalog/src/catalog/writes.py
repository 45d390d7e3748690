"""The SQL that makes the changes of a run in the products, and that turns them round."""

from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from common.web.database import Transaction
from imports.product import FIELDS

__all__ = ["Applied", "apply_changes", "end_of_changes", "record_revert", "write_changes"]

_CASTS = {int: "bigint", Decimal: "numeric"}
_ORIGIN = ("source", "external_id")


def _new(field: str) -> str:
    """The new value of a field as SQL."""
    kind = FIELDS[field].type
    if kind in (str, *_CASTS):
        return f"(c.new ->> '{field}')::{_CASTS.get(kind, 'text')}"
    return f"c.new -> '{field}'"


_SET = ", ".join(f"{field} = CASE WHEN c.new ? '{field}' THEN {_new(field)} ELSE p.{field} END" for field in FIELDS)
# A mark is none of what a client sees, so it leaves the version. A tombstone is sync's own if both times are equal.
_CHANGED = f"""
    UPDATE catalog.products AS p
    SET {_SET},
        version = p.version + CASE WHEN c.kind IN ('marked', 'seen') THEN 0 ELSE 1 END,
        updated_at = CASE WHEN c.kind IN ('marked', 'seen') THEN p.updated_at ELSE now() END,
        synced_at = CASE WHEN c.kind IN ('changed', 'returned') THEN now() ELSE p.synced_at END,
        deleted_at = CASE WHEN c.kind IN ('removed', 'deleted') THEN now()
            WHEN c.kind <> 'returned' THEN p.deleted_at END,
        removed_at = CASE WHEN c.kind = 'removed' THEN now() WHEN c.kind <> 'returned' THEN p.removed_at END,
        missing_since = CASE WHEN c.kind = 'marked' THEN now() END
    FROM c
    WHERE p.id = c.product_id AND p.version = c.version AND c.kind <> 'created'
    RETURNING c.id AS change_id, p.id AS product_id, p.version
"""  # noqa: S608  # the names of our own fields
_CREATED = f"""
    INSERT INTO catalog.products (id, {", ".join(_ORIGIN)}, {", ".join(FIELDS)}, synced_at)
    OVERRIDING SYSTEM VALUE
    SELECT coalesce(c.product_id, nextval('catalog.products_id_seq')), c.source, c.external_id,
        {", ".join(map(_new, FIELDS))}, now()
    FROM c
    WHERE c.kind = 'created' AND NOT EXISTS (
        SELECT FROM catalog.products AS p WHERE p.source = c.source AND p.external_id = c.external_id
    )
    ORDER BY c.id
    RETURNING id AS product_id, external_id, version
"""  # noqa: S608  # the names of our own fields
_WRITE = f"""
    WITH c AS MATERIALIZED (
        SELECT * FROM catalog.run_changes WHERE run_id = %(run_id)s AND id > %(after)s AND id <= %(last)s
            AND kind <> 'pinned' AND {{unapplied}}
    ), changed AS ({_CHANGED}), created AS ({_CREATED})
"""  # noqa: S608  # our own statements
_NOTE = f"""
    {_WRITE.format(unapplied="applied_version IS NULL")}, noted AS (
        UPDATE catalog.run_changes AS r SET applied_version = w.version, product_id = w.product_id
        FROM (
            SELECT change_id, product_id, version FROM changed
            UNION ALL
            SELECT c.id, created.product_id, created.version
            FROM created JOIN c ON c.kind = 'created' AND c.external_id = created.external_id
        ) AS w
        WHERE r.id = w.change_id
        RETURNING r.kind
    )
    SELECT count(*) FILTER (WHERE kind = 'created'), count(*) FILTER (WHERE kind IN ('changed', 'returned')),
        count(*) FILTER (WHERE kind IN ('removed', 'deleted')),
        (SELECT count(*) FROM c) - count(*),
        (SELECT count(*) FROM c WHERE kind IN ('created', 'changed', 'returned'))
            - count(*) FILTER (WHERE kind IN ('created', 'changed', 'returned'))
    FROM noted
"""  # noqa: S608  # our own statements
_COUNT = f"""
    {_WRITE.format(unapplied="applied_version IS NOT NULL")}
    SELECT (SELECT count(*) FROM changed) + (SELECT count(*) FROM created) - (SELECT count(*) FROM c)
"""  # noqa: S608  # our own statement
_END_OF_CHANGES = """
    SELECT max(id) FROM (
        SELECT id FROM catalog.run_changes WHERE run_id = %(run_id)s AND id > %(after)s ORDER BY id LIMIT %(size)s
    ) AS piece
"""
_REVERT = """
    WITH turned AS (
        INSERT INTO catalog.run_changes (source, run_id, kind, external_id, product_id, version, old, new)
        SELECT source, %(run_id)s, CASE kind
                WHEN 'created' THEN 'deleted' WHEN 'deleted' THEN 'returned' WHEN 'removed' THEN 'returned'
                WHEN 'returned' THEN 'removed' WHEN 'marked' THEN 'seen' WHEN 'seen' THEN 'marked' ELSE kind END,
            external_id, product_id, applied_version,
            CASE kind WHEN 'created' THEN '{}' ELSE new END, CASE kind WHEN 'created' THEN '{}' ELSE old END
        FROM catalog.run_changes
        WHERE run_id = %(of)s AND id > %(after)s AND id <= %(last)s AND applied_version IS NOT NULL
        ORDER BY id
        RETURNING kind
    )
    SELECT count(*) FILTER (WHERE kind IN ('changed', 'returned')),
        count(*) FILTER (WHERE kind IN ('removed', 'deleted'))
    FROM turned
"""


class Applied(NamedTuple):
    """How many changes of a piece of a plan were made.

    `records` are the conflicts of those that came of a record.
    """

    created: int
    updated: int
    removed: int
    conflicts: int
    records: int


async def write_changes(transaction: Transaction, run_id: UUID, first: int, last: int) -> None:
    """Make the changes that this transaction has recorded as applied, of products that it has locked."""
    ((lacking,),) = await transaction.fetch(_COUNT, {"run_id": run_id, "after": first - 1, "last": last})
    assert lacking == 0, "a locked product was not at the version that was read under the lock"


async def end_of_changes(transaction: Transaction, run_id: UUID, after: int, size: int) -> int | None:
    """The last change of a run's piece after a change; None if there is no further one."""
    ((last,),) = await transaction.fetch(_END_OF_CHANGES, {"run_id": run_id, "after": after, "size": size})
    return None if last is None else int(last)


async def apply_changes(transaction: Transaction, run_id: UUID, after: int, last: int) -> Applied:
    """Make the planned changes of a piece where the product is still at the version that the plan is for."""
    (row,) = await transaction.fetch(_NOTE, {"run_id": run_id, "after": after, "last": last})
    return Applied(*row)


async def record_revert(transaction: Transaction, run_id: UUID, of: UUID, after: int, last: int) -> tuple[int, int]:
    """Plan what undoes a piece of the changes that the run `of` has made; returns how many update and remove.

    What it created is deleted as an admin would delete it, so that the next run does not create it again.
    """
    parameters = {"run_id": run_id, "of": of, "after": after, "last": last}
    ((updated, removed),) = await transaction.fetch(_REVERT, parameters)
    return updated, removed
