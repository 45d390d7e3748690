"""What is kept of the runs of a source: their changes, conflicts and rejects, and for how long."""

from typing import Any
from uuid import UUID

from common.web.database import Transaction
from imports.messages import Prune, Pruned

__all__ = ["changes", "conflicts", "prune", "rejects"]

# How many rows one request deletes of a table.
PRUNED_AT_ONCE = 10_000
# JSON is selected as a varchar, which is answered as it is (`catalog.rows`).
_CHANGES = """
    SELECT c.id, c.kind, c.external_id, c.product_id, coalesce(p.name, c.new ->> 'name') AS name, c.version,
        c.applied_version IS NOT NULL AS applied,
        (SELECT coalesce(jsonb_object_agg(key, jsonb_build_object('old', c.old -> key, 'new', value)), '{}')::varchar
            FROM jsonb_each(c.new)) AS changes,
        (SELECT coalesce(jsonb_object_agg(key, jsonb_build_object('old', value -> 0, 'new', value -> 1)), '{}')::varchar
            FROM jsonb_each(c.skipped)) AS pinned
    FROM catalog.run_changes AS c LEFT JOIN catalog.products AS p ON p.id = c.product_id
    WHERE c.run_id = %(run_id)s AND c.source = %(source)s AND c.id > %(after)s
        AND (%(kind)s::text IS NULL OR c.kind = %(kind)s)
        AND (%(field)s::text IS NULL OR c.new ? %(field)s OR c.skipped ? %(field)s)
    ORDER BY c.id LIMIT %(limit)s
"""
_TOTALS = """
    SELECT kind, count(*) FROM catalog.run_changes
    WHERE run_id = %(run_id)s AND source = %(source)s GROUP BY kind ORDER BY kind
"""
_CONFLICTS = """
    SELECT external_id, product_id, name, expected, current, count(*) OVER () AS total FROM (
        SELECT c.id, c.external_id, c.product_id, p.name, c.version AS expected, p.version AS current
        FROM catalog.run_changes AS c LEFT JOIN catalog.products AS p ON p.id = c.product_id
        WHERE c.run_id = %(run_id)s AND c.source = %(source)s AND c.applied_version IS NULL
            AND c.kind NOT IN ('created', 'pinned') AND p.version IS DISTINCT FROM c.version
        UNION ALL
        SELECT c.id, c.external_id, p.id, p.name, NULL, p.version
        FROM catalog.run_changes AS c
        JOIN catalog.products AS p ON p.source = c.source AND p.external_id = c.external_id
        WHERE c.run_id = %(run_id)s AND c.source = %(source)s AND c.applied_version IS NULL AND c.kind = 'created'
    ) AS conflicts
    ORDER BY id LIMIT %(limit)s
"""
_REJECTS = """
    SELECT id, external_id, reason, payload, position FROM catalog.import_rejects
    WHERE source = %(source)s AND run_id = %(run_id)s AND id > %(after)s ORDER BY id LIMIT %(limit)s
"""
_PRUNE_CHANGES = """
    DELETE FROM catalog.run_changes WHERE id IN (
        SELECT c.id FROM catalog.import_runs AS r JOIN catalog.run_changes AS c ON c.run_id = r.run_id
        WHERE r.created_at < %(before)s AND NOT EXISTS (SELECT FROM catalog.imports AS i WHERE i.run_id = r.run_id)
        LIMIT %(at_most)s
    )
"""
_PRUNE_RUNS = """
    DELETE FROM catalog.import_runs AS r
    WHERE r.created_at < %(before)s AND NOT EXISTS (SELECT FROM catalog.imports AS i WHERE i.run_id = r.run_id)
        AND NOT EXISTS (SELECT FROM catalog.run_changes AS c WHERE c.run_id = r.run_id)
"""
_PRUNE_REJECTS = """
    DELETE FROM catalog.import_rejects WHERE id IN (
        SELECT r.id FROM catalog.import_rejects AS r
        WHERE r.created_at < %(before)s AND NOT EXISTS (SELECT FROM catalog.imports AS i WHERE i.run_id = r.run_id)
        ORDER BY r.id LIMIT %(at_most)s
    )
"""


async def changes(
    transaction: Transaction, source: str, run_id: UUID, kind: str | None, field: str | None, after: int, limit: int
) -> dict[str, Any]:
    """A page of `imports.messages.Changes`."""
    run = {"source": source, "run_id": run_id}
    filters = {"kind": kind, "field": field, "after": after, "limit": limit + 1}
    names = ("id", "kind", "external_id", "product_id", "name", "version", "applied", "changes", "pinned")
    page = _page(names, await transaction.fetch(_CHANGES, run | filters), limit)
    return page | {"totals": {} if after else dict(await transaction.fetch(_TOTALS, run))}


async def conflicts(transaction: Transaction, source: str, run_id: UUID, limit: int) -> dict[str, Any]:
    """The first of `imports.messages.Conflicts`."""
    rows = await transaction.fetch(_CONFLICTS, {"source": source, "run_id": run_id, "limit": limit})
    names = ("external_id", "product_id", "name", "expected", "current")
    return {"items": _items(names, rows), "total": rows[0][-1] if rows else 0}


async def rejects(transaction: Transaction, source: str, run_id: UUID, after: int, limit: int) -> dict[str, Any]:
    """A page of `imports.messages.Rejects`."""
    parameters = {"source": source, "run_id": run_id, "after": after, "limit": limit + 1}
    rows = await transaction.fetch(_REJECTS, parameters)
    return _page(("id", "external_id", "reason", "payload", "position"), rows, limit)


async def prune(transaction: Transaction, body: Prune) -> Pruned:
    """Delete some of what is kept of runs that began earlier, but nothing of the current run of a source."""
    parameters = {"before": body.before, "at_most": PRUNED_AT_ONCE}
    pruned_changes = await transaction.execute(_PRUNE_CHANGES, parameters)
    pruned_rejects = await transaction.execute(_PRUNE_REJECTS, parameters)
    await transaction.execute(_PRUNE_RUNS, parameters)
    done = max(pruned_changes, pruned_rejects) < PRUNED_AT_ONCE
    return Pruned(changes=pruned_changes, rejects=pruned_rejects, done=done)


def _page(names: tuple[str, ...], rows: list[tuple[Any, ...]], limit: int) -> dict[str, Any]:
    """Of rows by id, of which one more than is asked for tells whether there is a next page."""
    items = _items(names, rows[:limit])
    return {"items": items, "next": items[-1]["id"] if len(rows) > limit else None}


def _items(names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [dict(zip(names, row, strict=False)) for row in rows]
