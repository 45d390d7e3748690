"""Every query on runs and sources. Each is one statement, so each is one transaction."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from imports.messages import Counts
from sync.postgres import Fetch
from sync.settings import SyncSettings

__all__ = [
    "LEASE_SECONDS",
    "Run",
    "active",
    "by_id",
    "claim",
    "claim_slot",
    "finish",
    "hand_back",
    "last",
    "last_success",
    "overdue",
    "renew",
    "request",
    "request_initial",
    "slot",
    "sources",
    "waiting",
]

# A worker that is silent for this long has lost its run.
LEASE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Run:
    """A row of sync.runs."""

    id: UUID
    source: str
    state: str
    trigger: str
    fence: int | None
    attempt: int
    traceparent: str | None
    pages: int
    error: str | None
    created_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    finished_at: datetime | None
    counts: Counts


_NAMES = tuple(field.name for field in fields(Run))[:-1]
_COLUMNS = ", ".join((*_NAMES, *Counts.__struct_fields__))


def _runs(rows: list[tuple[Any, ...]]) -> list[Run]:
    return [Run(**dict(zip(_NAMES, row, strict=False)), counts=Counts(*row[len(_NAMES) :])) for row in rows]


def _run(rows: list[Any]) -> Run | None:
    return _runs(rows)[0] if rows else None


_INSERT = f"""
    WITH wish (source, provider, url, trigger, slot, traceparent) AS (
        VALUES (%s::text, %s::text, %s::text, %s::text, %s::bigint, %s::text)
    ), known AS (
        INSERT INTO sync.sources (name, provider, url) SELECT source, provider, url FROM wish
        ON CONFLICT (name) DO UPDATE SET provider = excluded.provider, url = excluded.url
    )
    INSERT INTO sync.runs (source, trigger, slot, traceparent)
    SELECT source, trigger, slot, traceparent FROM wish
    WHERE trigger <> 'initial'
        OR NOT EXISTS (SELECT FROM sync.runs WHERE runs.source = wish.source AND state = 'succeeded')
    ON CONFLICT DO NOTHING
    RETURNING {_COLUMNS}
"""  # noqa: S608


async def _insert(
    db: Fetch,
    settings: SyncSettings,
    trigger: str,
    *,
    slot: int | None = None,
    traceparent: str | None = None,
) -> Run | None:
    source = [settings.source, settings.external_api_provider, settings.source_url]
    return _run(await db.fetch(_INSERT, [*source, trigger, slot, traceparent]))


async def request(db: Fetch, settings: SyncSettings, *, traceparent: str | None = None) -> Run:
    """The run that answers a manual request: a new one, or the active one. Any number of callers get the same."""
    while True:
        run = await _insert(db, settings, "manual", traceparent=traceparent)
        if found := run or await active(db, settings.source):
            return found
        # The run that was in the way has just ended.


async def request_initial(db: Fetch, settings: SyncSettings) -> Run | None:
    """A first run of the source; None if one is active or has succeeded."""
    return await _insert(db, settings, "initial")


async def claim_slot(db: Fetch, settings: SyncSettings, slot: int) -> Run | None:
    """The scheduled run of a slot; None if the slot is taken or a run is active."""
    return await _insert(db, settings, "schedule", slot=slot)


async def claim(db: Fetch, run_id: UUID) -> Run | None:
    """Take a run that waits or whose worker fell silent; None if somebody else has it or it has ended.

    Who claims raises the fence, so everything that an earlier worker still sends is refused.
    """
    query = f"""
        WITH free AS (
            SELECT id, source FROM sync.runs
            WHERE id = %s AND (state = 'queued' OR (state = 'running' AND lease_until < now()))
            FOR UPDATE SKIP LOCKED
        ), raised AS (
            UPDATE sync.sources SET fence = sources.fence + 1 FROM free WHERE name = free.source
            RETURNING name, sources.fence
        )
        UPDATE sync.runs SET state = 'running', fence = raised.fence, attempt = attempt + 1,
            lease_until = now() + make_interval(secs => %s), heartbeat_at = now(),
            started_at = coalesce(started_at, now())
        FROM free, raised WHERE runs.id = free.id
        RETURNING {", ".join(f"runs.{name.strip()}" for name in _COLUMNS.split(","))}
    """  # noqa: S608
    return _run(await db.fetch(query, [run_id, LEASE_SECONDS]))


async def renew(db: Fetch, run: Run, *, pages: int, fetched: int, rejected: int) -> bool:
    """Keep a claimed run and note its progress; False if it is somebody else's by now."""
    query = """
        UPDATE sync.runs SET lease_until = now() + make_interval(secs => %s), heartbeat_at = now(),
            pages = %s, fetched = %s, rejected = %s
        WHERE id = %s AND fence = %s AND state = 'running' RETURNING id
    """
    return bool(await db.fetch(query, [LEASE_SECONDS, pages, fetched, rejected, run.id, run.fence]))


async def finish(db: Fetch, run: Run, *, pages: int, counts: Counts, error: str | None = None) -> bool:
    """End a claimed run, as failed if there is an error; False if it is somebody else's by now."""
    query = """
        UPDATE sync.runs SET state = %s, error = %s, fetched = %s, created = %s, updated = %s, unchanged = %s,
            rejected = %s, pages = %s, finished_at = now(), heartbeat_at = now(), lease_until = NULL
        WHERE id = %s AND fence = %s AND state = 'running' RETURNING id
    """
    figures = [counts.fetched, counts.created, counts.updated, counts.unchanged, counts.rejected]
    state = "failed" if error else "succeeded"
    return bool(await db.fetch(query, [state, error, *figures, pages, run.id, run.fence]))


async def hand_back(db: Fetch, run: Run) -> bool:
    """Let another worker go on with a claimed run; False if one has it already."""
    query = """
        UPDATE sync.runs SET state = 'queued', lease_until = NULL, heartbeat_at = now()
        WHERE id = %s AND fence = %s AND state = 'running' RETURNING id
    """
    return bool(await db.fetch(query, [run.id, run.fence]))


async def waiting(db: Fetch) -> list[Run]:
    """Runs that need a worker: queued for over 3 s, or left by a worker that fell silent."""
    query = f"""
        SELECT {_COLUMNS} FROM sync.runs
        WHERE (state = 'queued' AND coalesce(heartbeat_at, created_at) < now() - interval '3 s')
            OR (state = 'running' AND lease_until < now())
    """  # noqa: S608
    return _runs(await db.fetch(query))


async def by_id(db: Fetch, run_id: UUID) -> Run | None:
    return _run(await db.fetch(f"SELECT {_COLUMNS} FROM sync.runs WHERE id = %s", [run_id]))  # noqa: S608


async def active(db: Fetch, source: str) -> Run | None:
    """The one run of the source that is queued or running."""
    query = f"SELECT {_COLUMNS} FROM sync.runs WHERE source = %s AND state IN ('queued', 'running')"  # noqa: S608
    return _run(await db.fetch(query, [source]))


async def last(db: Fetch, source: str) -> Run | None:
    """The newest run of the source that has ended."""
    query = f"""
        SELECT {_COLUMNS} FROM sync.runs WHERE source = %s AND state IN ('succeeded', 'failed')
        ORDER BY created_at DESC LIMIT 1
    """  # noqa: S608
    return _run(await db.fetch(query, [source]))


async def sources(db: Fetch) -> list[tuple[str, str, str, datetime | None]]:
    """Name, provider, address and end of the last good run of each source."""
    return await db.fetch("""
        SELECT name, provider, url,
            (SELECT max(finished_at) FROM sync.runs WHERE source = name AND state = 'succeeded')
        FROM sync.sources ORDER BY name
    """)


async def last_success(db: Fetch) -> datetime | None:
    """When a run of any source last succeeded."""
    found: datetime | None = (await db.fetch("SELECT max(finished_at) FROM sync.runs WHERE state = 'succeeded'"))[0][0]
    return found


async def overdue(db: Fetch, source: str, interval: int) -> bool:
    """Whether the newest run was asked for more than `interval` seconds ago."""
    query = "SELECT max(created_at) < now() - make_interval(secs => %s) FROM sync.runs WHERE source = %s"
    return bool((await db.fetch(query, [interval, source]))[0][0])


async def slot(db: Fetch, interval: int) -> int:
    """The number of the current interval by the database's clock; one that begins within 5 s has begun."""
    query = "SELECT floor((extract(epoch FROM now()) + 5) / %s)::bigint"
    return int((await db.fetch(query, [interval]))[0][0])
