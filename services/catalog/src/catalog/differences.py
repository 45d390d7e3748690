"""The SQL that compares what is staged with the products, and keeps the differences as changes of the run.

A pass is taken in pieces, in the order in which it was staged, so that new products get their ids in that order. A
piece is some hundred lookups by index, whatever the planner would believe of a table that has just been filled, while
a whole source is compared without any.
"""

from typing import NamedTuple
from uuid import UUID

from catalog import plans
from common.web.database import Transaction
from imports.messages import Comparison, MissingPolicy
from imports.product import FIELDS

__all__ = ["Piece", "compare", "end_of_piece", "record_missing", "record_piece"]

# Removed by sync, not by an admin.
_RESTORABLE = "p.removed_at = p.deleted_at"
_SAME_PRODUCT = "p.source = s.source AND p.external_id = s.external_id"
_OLD = ", ".join(f"p.{field}" for field in FIELDS)
_NEW = ", ".join(f"s.{field}" for field in FIELDS)
# A pinned field keeps its value.
_KEPT = ", ".join(f"CASE WHEN '{field}' = ANY (p.pinned) THEN p.{field} ELSE s.{field} END" for field in FIELDS)
_STATE = f"""
    CASE WHEN p.id IS NULL THEN 'created'
        WHEN p.deleted_at IS NOT NULL THEN CASE WHEN {_RESTORABLE} THEN 'updated' ELSE 'deleted' END
        WHEN ({_OLD}) IS NOT DISTINCT FROM ({_NEW}) AND p.missing_since IS NULL THEN 'unchanged'
        WHEN ({_OLD}) IS DISTINCT FROM ({_KEPT}) OR p.missing_since IS NOT NULL THEN 'updated'
        ELSE 'pinned' END
"""
# The pass has no record of a product, not even one that was rejected.
_MISSES = """
    NOT EXISTS (
        SELECT FROM catalog.import_rows AS s WHERE s.source = %(source)s AND s.external_id = p.external_id
    ) AND NOT EXISTS (
        SELECT FROM catalog.import_rejects AS r
        WHERE r.source = %(source)s AND r.run_id = %(run_id)s AND r.external_id = p.external_id
    )
"""
_COMPARE = f"""
    WITH s AS (
        SELECT DISTINCT ON (external_id) * FROM catalog.import_rows WHERE source = %(source)s
        ORDER BY external_id, id DESC
    ), compared AS (
        SELECT {_STATE} AS state, p.deleted_at IS NULL AND ({_OLD}) IS NOT DISTINCT FROM ({_NEW}) AS equal,
            p.deleted_at IS NULL AND ({_OLD}) IS NOT DISTINCT FROM ({_KEPT}) AS kept,
            CASE WHEN p.deleted_at IS NULL AND p.price > 0 AND p.price <> s.price AND 'price' <> ALL (p.pinned)
                THEN abs(s.price - p.price) / p.price END AS price_change
        FROM s LEFT JOIN catalog.products AS p ON {_SAME_PRODUCT}
    ), live AS (
        SELECT {_MISSES} AS missing
        FROM catalog.products AS p WHERE p.source = %(source)s AND p.deleted_at IS NULL
    ), counted AS (
        SELECT count(*) AS records, count(*) FILTER (WHERE state = 'created') AS created,
            count(*) FILTER (WHERE state = 'updated' AND NOT kept) AS updated,
            count(*) FILTER (WHERE state <> 'created' AND kept AND NOT equal) AS pinned,
            count(*) FILTER (WHERE state <> 'created' AND equal) AS unchanged,
            count(*) FILTER (WHERE state = 'deleted') AS deleted, count(price_change) AS price_changes,
            percentile_cont(0.5) WITHIN GROUP (ORDER BY price_change::float8) AS median_price_change
        FROM compared
    )
    SELECT counted.*, (SELECT count(*) FROM live) AS live, (SELECT count(*) FROM live WHERE missing) AS missing
    FROM counted
"""  # noqa: S608  # the names of our own fields
# A piece is found by the primary key: no index may serve its condition on the source, which would be read as a whole.
_END_OF_PIECE = """
    SELECT max(id) FROM (
        SELECT id FROM catalog.import_rows WHERE source || '' = %(source)s AND id > %(after)s ORDER BY id LIMIT %(size)s
    ) AS piece
"""
_BOTH = ", ".join(f"p.{field} AS old_{field}, s.{field} AS new_{field}" for field in FIELDS)
_PAIRS = ", ".join(f"('{field}', to_jsonb(f.old_{field}), to_jsonb(f.new_{field}))" for field in FIELDS)
_MEMBERS = ", ".join(f"'{field}', n.{field}" for field in FIELDS)
_CHANGES = """
    WITH piece AS MATERIALIZED (
        SELECT r.*, r.id = (
            SELECT max(n.id) FROM catalog.import_rows AS n
            WHERE n.source = r.source AND n.external_id = r.external_id
        ) AS newest
        FROM catalog.import_rows AS r WHERE r.source || '' = %(source)s AND r.id > %(after)s AND r.id <= %(last)s
    ), s AS MATERIALIZED (
        SELECT s.*, p.id AS product_id, {state} AS state
        FROM piece AS s LEFT JOIN catalog.products AS p ON {same} WHERE s.newest
    ), found AS MATERIALIZED (
        SELECT s.id AS row_id, s.external_id, s.product_id, p.version, p.pinned, p.missing_since,
            p.deleted_at IS NOT NULL AS removed, {both}
        FROM s JOIN catalog.products AS p ON p.id = s.product_id
        WHERE s.state = ANY (%(states)s) AND {state} = ANY (%(states)s) {lock}
    ), changes AS (
        SELECT f.row_id, f.external_id, f.product_id, f.version, d.old, d.new, d.skipped, CASE
            WHEN f.removed THEN 'returned' WHEN d.new IS NOT NULL THEN 'changed'
            WHEN f.missing_since IS NOT NULL THEN 'seen' ELSE 'pinned' END AS kind
        FROM found AS f CROSS JOIN LATERAL (
            SELECT jsonb_object_agg(v.name, v.old) FILTER (WHERE v.name <> ALL (f.pinned)) AS old,
                jsonb_object_agg(v.name, v.new) FILTER (WHERE v.name <> ALL (f.pinned)) AS new,
                jsonb_object_agg(v.name, jsonb_build_array(v.old, v.new))
                    FILTER (WHERE v.name = ANY (f.pinned)) AS skipped
            FROM (VALUES {pairs}) AS v (name, old, new) WHERE v.old IS DISTINCT FROM v.new
        ) AS d
        UNION ALL
        SELECT n.id, n.external_id, {new_id}, NULL, NULL, jsonb_build_object({members}), NULL, 'created'
        FROM (SELECT * FROM s WHERE state = 'created' ORDER BY id) AS n
    ), written AS (
        INSERT INTO catalog.run_changes
            (source, run_id, kind, external_id, product_id, version, applied_version, old, new, skipped)
        SELECT %(source)s, %(run_id)s, kind, external_id, product_id, version, {applied_version},
            coalesce(old, '{{}}'), coalesce(new, '{{}}'), coalesce(skipped, '{{}}')
        FROM changes ORDER BY row_id
        RETURNING id, kind, skipped <> '{{}}' AS skips
    )
    SELECT (SELECT count(*) FROM piece), (SELECT count(*) FROM s),
        (SELECT count(*) FROM s WHERE state = 'deleted'),
        (SELECT count(*) FROM s WHERE state = 'pinned') + count(*) FILTER (WHERE kind = 'seen' AND skips),
        count(*) FILTER (WHERE kind = 'created'), count(*) FILTER (WHERE kind IN ('changed', 'returned')),
        min(id), max(id)
    FROM written
"""
_PARTS = {"state": _STATE, "same": _SAME_PRODUCT, "both": _BOTH, "pairs": _PAIRS, "members": _MEMBERS}
_PLAN = _CHANGES.format(lock="", new_id="NULL::bigint", applied_version="NULL::bigint", **_PARTS)
# Rows that will be written are locked as they are compared; the others are not even touched.
_APPLY = _CHANGES.format(
    lock="FOR UPDATE OF p",
    new_id="nextval('catalog.products_id_seq')",
    applied_version="CASE kind WHEN 'created' THEN 1 WHEN 'seen' THEN version ELSE version + 1 END",
    **_PARTS,
)
_MISSING = f"""
    WITH written AS (
        INSERT INTO catalog.run_changes (source, run_id, kind, external_id, product_id, version)
        SELECT p.source, %(run_id)s, %(kind)s, p.external_id, p.id, p.version
        FROM catalog.products AS p
        WHERE p.source = %(source)s AND p.deleted_at IS NULL AND (%(kind)s = 'removed' OR p.missing_since IS NULL)
            AND {_MISSES}
        ORDER BY p.id
        RETURNING id
    )
    SELECT count(*), min(id) FROM written
"""  # noqa: S608  # our own condition


class Piece(NamedTuple):
    """What became of the records of a piece, and the first and last id of its changes."""

    records: int
    distinct: int
    deleted: int
    pinned: int
    created: int
    updated: int
    first: int | None
    last: int | None


async def compare(
    transaction: Transaction, source: str, run_id: UUID, missing: MissingPolicy, *, staged: int, rejected: int
) -> Comparison:
    """What applying the staged pass would do, as one statement sees it."""
    await plans.whole_source(transaction)
    (
        (records, created, updated, pinned, unchanged, deleted, price_changes, median, live, lacking),
    ) = await transaction.fetch(_COMPARE, {"source": source, "run_id": run_id})
    return Comparison(
        fetched=staged + rejected, created=created, updated=updated, unchanged=unchanged, pinned=pinned,
        deleted=deleted, duplicates=staged - records, rejected=rejected,
        removed=lacking if missing == "remove" else 0, missing=lacking, live=live,
        median_price_change=median, price_changes=price_changes,
    )  # fmt: skip


async def end_of_piece(transaction: Transaction, source: str, after: int, size: int) -> int | None:
    """The last staged row of the piece after a row; None if there is no further one. Also readies the transaction."""
    await plans.by_index(transaction)
    ((last,),) = await transaction.fetch(_END_OF_PIECE, {"source": source, "after": after, "size": size})
    return None if last is None else int(last)


async def record_piece(
    transaction: Transaction, source: str, run_id: UUID, after: int, last: int, *, plan: bool
) -> Piece:
    """Keep what the staged rows of a piece change.

    As a plan, with what is skipped; or to be written in this transaction, for which the products are locked.
    """
    states = ["updated", "pinned"] if plan else ["updated"]
    parameters = {"source": source, "run_id": run_id, "after": after, "last": last, "states": states}
    (row,) = await transaction.fetch(_PLAN if plan else _APPLY, parameters)
    return Piece(*row)


async def record_missing(
    transaction: Transaction, source: str, run_id: UUID, missing: MissingPolicy
) -> tuple[int, int | None]:
    """Keep the changes of live products that the pass lacks; returns how many, and the first one's id.

    In one statement, so that a pass whose rows are lost meanwhile removes nothing.
    """
    await plans.whole_source(transaction)
    kind = {"mark": "marked", "remove": "removed"}[missing]
    ((count, first),) = await transaction.fetch(_MISSING, {"source": source, "run_id": run_id, "kind": kind})
    return count, first
