"""Runs without a worker: those that need one, and those that none will take."""

from common.postgres import Postgres
from sync import timings
from sync.runs import COLUMNS, RunRow, origin
from sync.settings import SyncSettings

__all__ = ["end_abandoned", "list_stalled"]

_STALLED = """((state = 'queued' AND coalesce(heartbeat_at, runs.created_at) < now() - make_interval(secs => %s))
    OR (state = 'running' AND lease_until < now()))"""


async def list_stalled(db: Postgres, settings: SyncSettings) -> list[RunRow]:
    """Runs of the source that need a worker: queued for a while, or with a lease that has expired."""
    query = f"""
        SELECT {COLUMNS} FROM sync.runs JOIN sync.sources ON name = source
        WHERE {_STALLED} AND (name, provider, url) = (%s, %s, %s)
    """  # noqa: S608
    return await db.fetch_as(RunRow, query, [timings.QUEUED, *origin(settings)])


async def end_abandoned(db: Postgres, settings: SyncSettings) -> list[RunRow]:
    """End the runs, as failed, that no worker will take any more, and return them.

    Those are of this source at an address that is not its own any more, and of other sources if no worker of theirs,
    which may be another release's, came for `timings.ABANDONED` seconds.
    """
    query = f"""
        UPDATE sync.runs SET state = 'failed', lease_until = NULL, finished_at = now(),
            error = CASE WHEN name = %s THEN 'the provider or the address of the source has changed meanwhile'
                ELSE 'no worker has the settings of this source' END
        FROM sync.sources
        WHERE source = name AND {_STALLED} AND CASE WHEN name = %s THEN (provider, url) <> (%s, %s)
            ELSE coalesce(lease_until, heartbeat_at, runs.created_at) < now() - make_interval(secs => %s) END
        RETURNING {COLUMNS}
    """  # noqa: S608
    name, *address = origin(settings)
    params = [name, timings.QUEUED, name, *address, timings.ABANDONED]
    return await db.fetch_as(RunRow, query, params)
