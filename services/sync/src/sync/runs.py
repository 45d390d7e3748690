"""Runs and how they come to be: by an admin, by their slot, or because their source needs one.

Statements of worker, scheduler and trigger are SQL for psycopg: worker and scheduler must stay small, so they load no
SQLAlchemy, and each is one statement on purpose, because each statement is a transaction of its own. Rows become
`RunRow` by the names of the columns; a test compares it with the model. How workers take and end runs is in
`sync.leases`, what an admin decides about them in `sync.decisions`, and what only the API reads in `sync.history`.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from common.postgres import Postgres
from imports.counts import Counts
from sync import timings
from sync.states import Kind, Mode, RunState, Trigger

__all__ = [
    "COLUMNS",
    "Clock",
    "DueSource",
    "RunRow",
    "SourceFigures",
    "claim_slot",
    "clock",
    "find_pass",
    "first_of",
    "list_due",
    "list_figures",
    "request",
    "request_due",
]


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of sync.runs. Its fields are the SELECT list."""

    id: UUID
    source: str
    state: RunState
    trigger: Trigger
    mode: Mode
    kind: Kind
    pass_id: UUID | None
    reverts: UUID | None
    approved: bool
    fence: int | None
    attempt: int
    traceparent: str | None
    fetched: int
    created: int
    updated: int
    unchanged: int
    rejected: int
    removed: int
    pinned: int
    deleted: int
    duplicates: int
    conflicts: int
    pages: int
    error: str | None
    held_for: str | None
    resumable: bool
    retry_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    finished_at: datetime | None

    @property
    def counts(self) -> Counts:
        return Counts(**{name: getattr(self, name) for name in Counts.__struct_fields__})

    @property
    def pass_of(self) -> UUID:
        """The name of its pass in catalog."""
        return self.pass_id or self.id


COLUMNS = ", ".join(f"runs.{name}" for name in RunRow.__struct_fields__)


async def first_of(db: Postgres, query: str, *params: object) -> RunRow | None:
    """The first row of a statement that returns `COLUMNS`."""
    rows = await db.fetch_as(RunRow, query, params)
    return rows[0] if rows else None


async def find_pass(db: Postgres, run_id: UUID | None) -> UUID | None:
    """The name of a run's pass in catalog; None for one that is not kept."""
    rows = await db.fetch("SELECT coalesce(pass_id, id) FROM sync.runs WHERE id = %s", [run_id])
    return rows[0][0] if rows else None


async def request(
    db: Postgres, source: str, *, mode: Mode = Mode.APPLY, full: bool = False, traceparent: str | None = None
) -> RunRow:
    """The run that answers a manual request: a new one, or the active one. Any number of callers get the same.

    A `full` run begins with the first page, also where the run before could be gone on from.
    """
    active = f"""
        SELECT {COLUMNS} FROM sync.runs WHERE source = %s AND state IN ('queued', 'running', 'held', 'applying')
    """  # noqa: S608
    while True:
        run = await _insert(db, source, Trigger.MANUAL, mode=mode, full=full, traceparent=traceparent)
        if found := run or await first_of(db, active, source):
            return found
        # The run that was in the way has just ended.


async def request_due(db: Postgres, source: str, *, ever_synced: bool) -> RunRow | None:
    """The first run of a source, or another one after a failure; None if one is active or has just succeeded."""
    return await _insert(db, source, Trigger.RETRY if ever_synced else Trigger.INITIAL)


async def claim_slot(db: Postgres, source: str, slot: int) -> RunRow | None:
    """The scheduled run of a slot; None if the slot is taken or a run is active."""
    return await _insert(db, source, Trigger.SCHEDULE, slot=slot)


# A new run ends a plan that nobody applied, and goes on where a run that failed for a while only has stopped, unless
# its source has changed since: pages of two addresses are no pass.
_INSERT = f"""
    WITH wanted (source, trigger, slot, traceparent, mode, fresh) AS (
        VALUES (%s::text, %s::text, %s::bigint, %s::text, %s::text, %s::bool)
    ), newest AS (
        SELECT runs.* FROM sync.runs JOIN wanted USING (source)
        WHERE runs.state IN ('succeeded', 'failed', 'cancelled') AND kind = 'sync'
        ORDER BY runs.created_at DESC LIMIT 1
    ), unfinished AS (
        SELECT coalesce(pass_id, id) AS pass_id, approved FROM newest
        WHERE state = 'failed' AND resumable AND finished_at > now() - make_interval(secs => %s)
            AND created_at > (SELECT updated_at FROM sync.sources WHERE name = source)
    ), inserted AS (
        INSERT INTO sync.runs (source, trigger, slot, traceparent, mode, pass_id, approved)
        SELECT source, trigger, slot, traceparent, mode, pass_id, coalesce(approved, false)
        FROM wanted LEFT JOIN unfinished ON NOT fresh AND mode = 'apply'
        WHERE trigger NOT IN ('initial', 'retry')
            OR NOT EXISTS (SELECT FROM newest WHERE state = 'succeeded')
        ON CONFLICT DO NOTHING
        RETURNING {COLUMNS}
    ), ended AS (
        UPDATE sync.runs SET state = 'cancelled', error = 'a newer run of the source has begun', finished_at = now()
        FROM inserted WHERE runs.source = inserted.source AND runs.state = 'staged'
    )
    SELECT {COLUMNS} FROM inserted AS runs
"""  # noqa: S608


async def _insert(
    db: Postgres,
    source: str,
    trigger: Trigger,
    *,
    slot: int | None = None,
    mode: Mode = Mode.APPLY,
    full: bool = False,
    traceparent: str | None = None,
) -> RunRow | None:
    return await first_of(db, _INSERT, source, trigger, slot, traceparent, mode, full, timings.RESUMABLE)


class Clock(msgspec.Struct, frozen=True):
    """PostgreSQL's clock, and when the newest run of a source was asked for, in Unix seconds."""

    now: float
    newest: float | None


async def clock(db: Postgres, source: str) -> Clock:
    query = """
        SELECT extract(epoch FROM now())::float8 AS now, (
            SELECT extract(epoch FROM max(created_at))::float8 FROM sync.runs WHERE source = %s
        ) AS newest
    """
    return (await db.fetch_as(Clock, query, [source]))[0]


class DueSource(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a source was `ever_synced`, and whether a first run, or another one after a failure, is `due` now.

    `retry_at` says when a run that failed is tried again; null if it is not, or one is active.
    """

    source: str
    ever_synced: bool
    due: bool
    retry_at: datetime | None


async def list_due(db: Postgres, source: str | None = None) -> list[DueSource]:
    """Of one source, or of all that are enabled."""
    query = """
        SELECT name AS source, ever_synced,
            NOT active AND (newest.retry_at <= now() OR (newest.state IS NULL AND NOT ever_synced)) IS TRUE AS due,
            CASE WHEN NOT active THEN newest.retry_at END AS retry_at
        FROM sync.sources CROSS JOIN LATERAL (
            SELECT EXISTS (SELECT FROM sync.runs WHERE runs.source = name AND state = 'succeeded') AS ever_synced,
                EXISTS (
                    SELECT FROM sync.runs
                    WHERE runs.source = name AND state IN ('queued', 'running', 'staged', 'held', 'applying')
                ) AS active
        ) AS known LEFT JOIN LATERAL (
            SELECT state, CASE WHEN state = 'failed' THEN retry_at END AS retry_at
            FROM sync.runs WHERE runs.source = name AND state IN ('succeeded', 'failed', 'cancelled')
            ORDER BY created_at DESC LIMIT 1
        ) AS newest ON true
        WHERE CASE WHEN %s::text IS NULL THEN enabled ELSE name = %s END
    """
    return await db.fetch_as(DueSource, query, [source, source])


class SourceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What the metrics show of a source: its active and held runs, and when one last succeeded, in Unix seconds.

    A source that has never succeeded counts from when it was made.
    """

    source: str
    active: int
    held: int
    succeeded_at: float | None
    created_at: float


async def list_figures(db: Postgres) -> list[SourceFigures]:
    return await db.fetch_as(
        SourceFigures,
        """
        SELECT name AS source, count(*) FILTER (WHERE state IN ('queued', 'running', 'applying')) AS active,
            count(*) FILTER (WHERE state = 'held') AS held,
            extract(epoch FROM max(finished_at) FILTER (WHERE state = 'succeeded'))::float8 AS succeeded_at,
            extract(epoch FROM sources.created_at)::float8 AS created_at
        FROM sync.sources LEFT JOIN sync.runs ON source = name WHERE enabled GROUP BY name
    """,
    )
