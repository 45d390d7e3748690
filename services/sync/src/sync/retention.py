"""How long runs are kept, with their changes and rejects in catalog. SQL for psycopg, as in `sync.runs`."""

import logging
from datetime import UTC, datetime, timedelta

import psycopg

from common.postgres import Postgres
from sync.catalog import CatalogClient, CatalogUnavailable
from sync.import_session import CatalogRejected

__all__ = ["prune"]

log = logging.getLogger(__name__)

# The newest run of a source tells what happened last, and the newest success that its products came from its address.
_PRUNE = """
    DELETE FROM sync.runs AS old WHERE finished_at < now() - make_interval(days => %s)
        AND EXISTS (
            SELECT FROM sync.runs AS newer WHERE newer.source = old.source AND newer.created_at > old.created_at
        )
        AND (state <> 'succeeded' OR EXISTS (
            SELECT FROM sync.runs AS newer WHERE newer.source = old.source AND newer.created_at > old.created_at
                AND newer.state = 'succeeded'
        ))
    RETURNING id
"""


async def prune(db: Postgres, catalog: CatalogClient, days: int) -> int:
    """Delete what ended more than `days` days ago; returns how many runs. What cannot be deleted now can be later."""
    try:
        pruned = len(await db.fetch(_PRUNE, [days]))
        await catalog.prune(datetime.now(UTC) - timedelta(days=days))
    except (psycopg.OperationalError, CatalogUnavailable, CatalogRejected) as error:
        log.warning("old runs stay for now: %s", type(error).__name__)
        return 0
    return pruned
