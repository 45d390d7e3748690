"""The first sync of a source, which is tried until it succeeds."""

from dataclasses import dataclass
from datetime import datetime

from sync.postgres import Fetch

__all__ = ["FirstSuccess", "first_success"]

# The first pause after a first sync that failed.
RETRY_SECONDS = 10


@dataclass(frozen=True, slots=True)
class FirstSuccess:
    """Whether a source was ever synced (`done`), and if not, whether a run is `due` now.

    `retry_at` says when a run that failed is tried again; null if there is none, or one is active.
    """

    done: bool
    due: bool
    retry_at: datetime | None


async def first_success(db: Fetch, source: str, interval: int) -> FirstSuccess:
    """The pause after a failure is RETRY_SECONDS at first and doubles with each, up to `interval` seconds."""
    query = """
        WITH ended AS (
            SELECT max(finished_at) + make_interval(secs => least(%s * 2 ^ least(count(*) - 1, 20), %s)) AS retry_at,
                coalesce(bool_or(state = 'succeeded'), false) AS done,
                coalesce(bool_or(state IN ('queued', 'running')), false) AS active
            FROM sync.runs WHERE source = %s
        )
        SELECT done, NOT done AND NOT active AND coalesce(retry_at, now()) <= now(),
            CASE WHEN NOT done AND NOT active THEN retry_at END
        FROM ended
    """
    return FirstSuccess(*(await db.fetch(query, [RETRY_SECONDS, interval, source]))[0])
