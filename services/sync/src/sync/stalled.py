"""Runs without a worker: those that need one, and those that none will take."""

from common.postgres import Postgres
from sync import timings
from sync.runs import COLUMNS, RunRow
from sync.settings import SyncSettings

__all__ = ["end_abandoned", "list_stalled"]

_STALLED = """((state = 'queued' AND coalesce(heartbeat_at, runs.created_at) < now() - make_interval(secs => %s))
    OR (state IN ('running', 'applying') AND lease_until < now()))"""


async def list_stalled(db: Postgres, settings: SyncSettings) -> list[RunRow]:
    """Runs that need a worker and that ours can do: queued for a while, or with a lease that has expired."""
    query = f"""
        SELECT {COLUMNS} FROM sync.runs JOIN sync.sources ON name = source
        WHERE {_STALLED} AND (managed_by = 'api' OR (name, provider, url) = (%s, %s, %s))
    """  # noqa: S608
    return await db.fetch_as(RunRow, query, [timings.QUEUED, *settings.origin])


async def end_abandoned(db: Postgres, settings: SyncSettings) -> list[RunRow]:
    """End the runs, as failed, that no worker will take any more, and return them.

    Those are of our environment's source at an address that is not its own any more, and of the sources of other
    environments if no worker of theirs, which may be another release's, came for `timings.ABANDONED` seconds.
    """
    query = f"""
        UPDATE sync.runs SET state = 'failed', lease_until = NULL, finished_at = now(),
            error = CASE WHEN name = %s THEN 'the provider or the address of the source has changed meanwhile'
                ELSE 'no worker has the settings of this source' END
        FROM sync.sources
        WHERE source = name AND managed_by = 'environment' AND {_STALLED}
            AND CASE WHEN name = %s THEN (provider, url) <> (%s, %s)
                ELSE coalesce(lease_until, heartbeat_at, runs.created_at) < now() - make_interval(secs => %s) END
        RETURNING {COLUMNS}
    """  # noqa: S608
    name = settings.source
    params = [name, timings.QUEUED, *settings.origin, timings.ABANDONED]
    return await db.fetch_as(RunRow, query, params)
