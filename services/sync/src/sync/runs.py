"""Every statement that worker, scheduler and trigger run on runs and sources.

They are SQL for psycopg: worker and scheduler must stay small, so they load no SQLAlchemy, and most of them are one
statement on purpose, because each statement is a transaction of its own: a claim raises the fence and takes the lease
at once or not at all. Rows become `RunRow` by the names of the columns; a test compares it with the model. What
only the API reads is in `sync.history`.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from common.postgres import Postgres
from imports.counts import Counts
from sync import timings
from sync.settings import SyncSettings
from sync.states import RunState, Trigger

__all__ = [
    "COLUMNS",
    "FirstSync",
    "RunRow",
    "SourceFigures",
    "claim",
    "claim_slot",
    "current_slot",
    "finish",
    "first_sync",
    "is_overdue",
    "list_figures",
    "origin",
    "release",
    "renew",
    "request",
    "request_initial",
]


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of sync.runs. Its fields are the SELECT list."""

    id: UUID
    source: str
    state: RunState
    trigger: Trigger
    fence: int | None
    attempt: int
    traceparent: str | None
    fetched: int
    created: int
    updated: int
    unchanged: int
    rejected: int
    pages: int
    error: str | None
    created_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    finished_at: datetime | None

    @property
    def counts(self) -> Counts:
        return Counts(**{name: getattr(self, name) for name in Counts.__struct_fields__})


COLUMNS = ", ".join(f"runs.{name}" for name in RunRow.__struct_fields__)


async def _fetch_run(db: Postgres, query: str, *params: object) -> RunRow | None:
    rows = await db.fetch_as(RunRow, query, params)
    return rows[0] if rows else None


async def request(db: Postgres, settings: SyncSettings, *, traceparent: str | None = None) -> RunRow:
    """The run that answers a manual request: a new one, or the active one. Any number of callers get the same."""
    active = f"SELECT {COLUMNS} FROM sync.runs WHERE source = %s AND state IN ('queued', 'running')"  # noqa: S608
    while True:
        run = await _insert(db, settings, Trigger.MANUAL, traceparent=traceparent)
        if found := run or await _fetch_run(db, active, settings.source):
            return found
        # The run that was in the way has just ended.


async def request_initial(db: Postgres, settings: SyncSettings) -> RunRow | None:
    """A first run of the source; None if one is active or has succeeded."""
    return await _insert(db, settings, Trigger.INITIAL)


async def claim_slot(db: Postgres, settings: SyncSettings, slot: int) -> RunRow | None:
    """The scheduled run of a slot; None if the slot is taken or a run is active."""
    return await _insert(db, settings, Trigger.SCHEDULE, slot=slot)


async def _insert(
    db: Postgres,
    settings: SyncSettings,
    trigger: Trigger,
    *,
    slot: int | None = None,
    traceparent: str | None = None,
) -> RunRow | None:
    query = f"""
        WITH wanted (source, provider, url, trigger, slot, traceparent) AS (
            VALUES (%s::text, %s::text, %s::text, %s::text, %s::bigint, %s::text)
        ), registered AS (
            INSERT INTO sync.sources (name, provider, url) SELECT source, provider, url FROM wanted
            ON CONFLICT (name) DO UPDATE SET provider = excluded.provider, url = excluded.url
            WHERE NOT EXISTS (
                SELECT FROM sync.runs WHERE runs.source = excluded.name AND state IN ('queued', 'running')
            )
        )
        INSERT INTO sync.runs (source, trigger, slot, traceparent)
        SELECT source, trigger, slot, traceparent FROM wanted
        WHERE trigger <> 'initial'
            OR NOT EXISTS (SELECT FROM sync.runs WHERE runs.source = wanted.source AND state = 'succeeded')
        ON CONFLICT DO NOTHING
        RETURNING {COLUMNS}
    """  # noqa: S608
    return await _fetch_run(db, query, *origin(settings), trigger, slot, traceparent)


def origin(settings: SyncSettings) -> tuple[str, str, str]:
    """The source that a process can read: its name, provider and address as they are stored."""
    return settings.source, settings.external_api_provider, settings.source_url


async def claim(db: Postgres, settings: SyncSettings, run_id: UUID) -> RunRow | None:
    """Take a run that is queued or whose lease has expired; None if somebody else has it or it has ended.

    None, too, if it was made for another source than that of the settings, or for another address of it: whoever took
    it would store the products of one shop as those of another. Who claims raises the fence, so everything that an
    earlier worker still sends is refused.
    """
    query = f"""
        WITH free AS (
            SELECT id, source FROM sync.runs JOIN sync.sources ON name = source
            WHERE id = %s AND (name, provider, url) = (%s, %s, %s)
                AND (state = 'queued' OR (state = 'running' AND lease_until < now()))
            FOR UPDATE OF runs SKIP LOCKED
        ), raised AS (
            UPDATE sync.sources SET fence = sources.fence + 1 FROM free WHERE name = free.source
            RETURNING name, sources.fence
        )
        UPDATE sync.runs SET state = 'running', fence = raised.fence, attempt = attempt + 1,
            lease_until = now() + make_interval(secs => %s), heartbeat_at = now(),
            started_at = coalesce(started_at, now())
        FROM free, raised WHERE runs.id = free.id
        RETURNING {COLUMNS}
    """  # noqa: S608
    return await _fetch_run(db, query, run_id, *origin(settings), timings.LEASE)


async def renew(db: Postgres, run: RunRow, *, pages: int, counts: Counts) -> bool:
    """Extend the lease of a claimed run and store its progress; False if another worker has the run."""
    query = """
        UPDATE sync.runs SET lease_until = now() + make_interval(secs => %s), heartbeat_at = now(),
            pages = %s, fetched = %s, rejected = %s
        WHERE id = %s AND fence = %s AND state = 'running' RETURNING id
    """
    return bool(await db.fetch(query, [timings.LEASE, pages, counts.fetched, counts.rejected, run.id, run.fence]))


async def finish(db: Postgres, run: RunRow, *, pages: int, counts: Counts, error: str | None = None) -> bool:
    """End a claimed run, as failed if there is an error; False if another worker has the run."""
    query = """
        UPDATE sync.runs SET state = %s, error = %s, fetched = %s, created = %s, updated = %s, unchanged = %s,
            rejected = %s, pages = %s, finished_at = now(), heartbeat_at = now(), lease_until = NULL
        WHERE id = %s AND fence = %s AND state = 'running' RETURNING id
    """
    figures = [counts.fetched, counts.created, counts.updated, counts.unchanged, counts.rejected]
    state = RunState.FAILED if error else RunState.SUCCEEDED
    return bool(await db.fetch(query, [state, error, *figures, pages, run.id, run.fence]))


async def release(db: Postgres, run: RunRow, *, above: int = 0) -> bool:
    """Put a claimed run back for another worker, whose fence is higher than `above`; False if one has it already.

    Like a claim it writes to the source first, as requests do, so that none waits for the other in a circle.
    """
    query = """
        WITH ours AS (
            SELECT id, source FROM sync.runs WHERE id = %s AND fence = %s AND state = 'running' FOR UPDATE
        ), raised AS (
            UPDATE sync.sources SET fence = greatest(sources.fence, %s) FROM ours WHERE name = source RETURNING name
        )
        UPDATE sync.runs SET state = 'queued', lease_until = NULL, heartbeat_at = now()
        FROM ours, raised WHERE runs.id = ours.id
        RETURNING runs.id
    """
    return bool(await db.fetch(query, [run.id, run.fence, above]))


async def is_overdue(db: Postgres, source: str, interval: int) -> bool:
    """Whether the newest run was asked for more than `interval` seconds ago."""
    query = "SELECT max(created_at) < now() - make_interval(secs => %s) FROM sync.runs WHERE source = %s"
    return bool((await db.fetch(query, [interval, source]))[0][0])


async def current_slot(db: Postgres, interval: int) -> int:
    """The number of the current interval by the database's clock; one that begins in a moment has begun."""
    query = "SELECT floor((extract(epoch FROM now()) + %s) / %s)::bigint"
    return int((await db.fetch(query, [timings.SLOT_TOLERANCE, interval]))[0][0])


class FirstSync(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a source was ever synced (`done`), and if not, whether a run is `due` now.

    `retry_at` says when a run that failed is tried again; null if there is none, or one is active.
    """

    done: bool
    due: bool
    retry_at: datetime | None


async def first_sync(db: Postgres, source: str, interval: int) -> FirstSync:
    """The pause after a failure is FIRST_RETRY at first and doubles with each, up to `interval` seconds."""
    query = """
        WITH ended AS (
            SELECT max(finished_at) + make_interval(secs => least(%s * 2 ^ least(count(*) - 1, 20), %s)) AS retry_at,
                coalesce(bool_or(state = 'succeeded'), false) AS done,
                coalesce(bool_or(state IN ('queued', 'running')), false) AS active
            FROM sync.runs WHERE source = %s
        )
        SELECT done, NOT done AND NOT active AND coalesce(retry_at, now()) <= now() AS due,
            CASE WHEN NOT done AND NOT active THEN retry_at END AS retry_at
        FROM ended
    """
    return (await db.fetch_as(FirstSync, query, [timings.FIRST_RETRY, interval, source]))[0]


class SourceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What the metrics show of a source: its active runs, and when one last succeeded, in Unix seconds."""

    source: str
    active: int
    succeeded_at: float | None


async def list_figures(db: Postgres) -> list[SourceFigures]:
    return await db.fetch_as(
        SourceFigures,
        """
        SELECT name AS source, count(*) FILTER (WHERE state IN ('queued', 'running')) AS active,
            extract(epoch FROM max(finished_at) FILTER (WHERE state = 'succeeded'))::float8 AS succeeded_at
        FROM sync.sources LEFT JOIN sync.runs ON source = name GROUP BY name
    """,
    )
