"""How a worker takes a run, keeps it, and ends it. SQL for psycopg, as in `sync.runs`."""

from uuid import UUID

from common.postgres import Postgres
from imports.counts import Counts
from sync import timings
from sync.runs import COLUMNS, RunRow, first_of
from sync.settings import SyncSettings
from sync.states import RunState

__all__ = ["begin_applying", "claim", "finish", "release", "renew", "wait_for_admin"]

_FIGURES = Counts.__struct_fields__
_SET_FIGURES = ", ".join(f"{name} = %s" for name in _FIGURES)


def _values(counts: Counts) -> list[int]:
    return [getattr(counts, name) for name in _FIGURES]


async def claim(db: Postgres, settings: SyncSettings, run_id: UUID) -> RunRow | None:
    """Take a run that is queued or whose lease has expired; None if somebody else has it or it has ended.

    None, too, if its source is that of another environment, or ours at another address: whoever took it would store the
    products of one shop as those of another. Who claims raises the fence, so everything that an earlier worker still
    sends is refused.
    """
    query = f"""
        WITH free AS (
            SELECT id, source FROM sync.runs JOIN sync.sources ON name = source
            WHERE id = %s AND (managed_by = 'api' OR (name, provider, url) = (%s, %s, %s))
                AND (state = 'queued' OR (state IN ('running', 'applying') AND lease_until < now()))
            FOR UPDATE OF runs SKIP LOCKED
        ), raised AS (
            UPDATE sync.sources SET fence = sources.fence + 1 FROM free WHERE name = free.source
            RETURNING name, sources.fence
        )
        UPDATE sync.runs SET state = CASE WHEN approved THEN 'applying' ELSE 'running' END, fence = raised.fence,
            attempt = attempt + 1, lease_until = now() + make_interval(secs => %s), heartbeat_at = now(),
            started_at = coalesce(started_at, now())
        FROM free, raised WHERE runs.id = free.id
        RETURNING {COLUMNS}
    """  # noqa: S608
    return await first_of(db, query, run_id, *settings.origin, timings.LEASE)


async def renew(db: Postgres, run: RunRow, *, pages: int, counts: Counts) -> bool:
    """Extend the lease of a claimed run and store its progress; False if it was cancelled or another worker has it."""
    query = f"""
        UPDATE sync.runs SET lease_until = now() + make_interval(secs => %s), heartbeat_at = now(),
            pages = %s, {_SET_FIGURES}
        WHERE id = %s AND fence = %s AND state IN ('running', 'applying') RETURNING id
    """  # noqa: S608
    return bool(await db.fetch(query, [timings.LEASE, pages, *_values(counts), run.id, run.fence]))


async def begin_applying(db: Postgres, run: RunRow) -> bool:
    """From now on products change, and the run cannot be cancelled; False as in `renew`."""
    query = """
        UPDATE sync.runs SET state = 'applying', lease_until = now() + make_interval(secs => %s), heartbeat_at = now()
        WHERE id = %s AND fence = %s AND state IN ('running', 'applying') RETURNING id
    """
    return bool(await db.fetch(query, [timings.LEASE, run.id, run.fence]))


async def wait_for_admin(
    db: Postgres, run: RunRow, state: RunState, *, pages: int, counts: Counts, held_for: str | None = None
) -> bool:
    """The pass is complete and its changes can be seen: staged, or held with the reason. False as in `renew`."""
    query = f"""
        UPDATE sync.runs SET state = %s, held_for = %s, pages = %s, {_SET_FIGURES}, heartbeat_at = now(),
            lease_until = NULL
        WHERE id = %s AND fence = %s AND state IN ('running', 'applying') RETURNING id
    """  # noqa: S608
    return bool(await db.fetch(query, [state, held_for, pages, *_values(counts), run.id, run.fence]))


_SUCCEEDED = "FROM sync.runs AS good WHERE good.source = runs.source AND good.state = 'succeeded'"
# The pause after a failure is FIRST_RETRY at first, and doubles with each up to the interval of the source.
_RETRY_AT = f"""
    CASE WHEN %s AND runs.kind = 'sync' AND (%s OR NOT EXISTS (SELECT {_SUCCEEDED})) THEN
        now() + make_interval(secs => greatest(%s, (
            SELECT least(%s * 2 ^ least(count(earlier.id), 20), coalesce(max(sources.interval_minutes), 1440) * 60)
            FROM sync.sources LEFT JOIN sync.runs AS earlier ON earlier.source = name AND earlier.state = 'failed'
                AND earlier.created_at > coalesce((SELECT max(good.created_at) {_SUCCEEDED}), '-infinity')
            WHERE name = runs.source
        )))
    END
"""  # noqa: S608


async def finish(
    db: Postgres,
    run: RunRow,
    *,
    pages: int,
    counts: Counts,
    error: str | None = None,
    resumable: bool = False,
    retry_after: float | None = None,
) -> bool:
    """End a claimed run, as failed if there is an error; False as in `renew`.

    A failed run that is `resumable`, and one of a source that never succeeded, is followed by another one after a
    growing pause of at least `retry_after` seconds.
    """
    query = f"""
        UPDATE sync.runs SET state = %s, error = %s, pages = %s, {_SET_FIGURES}, resumable = %s,
            retry_at = {_RETRY_AT}, finished_at = now(), heartbeat_at = now(), lease_until = NULL
        WHERE id = %s AND fence = %s AND state IN ('running', 'applying') RETURNING id
    """  # noqa: S608
    state = RunState.FAILED if error else RunState.SUCCEEDED
    failed, retryable = bool(error), bool(error) and resumable
    retry = [failed, retryable, retry_after or 0, timings.FIRST_RETRY]
    params = [state, error, pages, *_values(counts), retryable, *retry, run.id, run.fence]
    return bool(await db.fetch(query, params))


async def release(db: Postgres, run: RunRow, *, above: int = 0) -> bool:
    """Put a claimed run back for another worker, whose fence is higher than `above`; False as in `renew`.

    Like a claim it writes to the source first, as requests do, so that none waits for the other in a circle.
    """
    query = """
        WITH ours AS (
            SELECT id, source FROM sync.runs WHERE id = %s AND fence = %s AND state IN ('running', 'applying')
            FOR UPDATE
        ), raised AS (
            UPDATE sync.sources SET fence = greatest(sources.fence, %s) FROM ours WHERE name = source RETURNING name
        )
        UPDATE sync.runs SET state = 'queued', lease_until = NULL, heartbeat_at = now()
        FROM ours, raised WHERE runs.id = ours.id
        RETURNING runs.id
    """
    return bool(await db.fetch(query, [run.id, run.fence, above]))
