"""What an admin decides about runs. Each is one statement, so that two who decide at once do not both succeed.

SQL for psycopg, as in `sync.runs`.
"""

from uuid import UUID

from common.postgres import Postgres
from sync.runs import COLUMNS, RunRow, first_of
from sync.states import Mode

__all__ = ["approve", "cancel", "request_revert"]


async def approve(db: Postgres, run_id: UUID, traceparent: str | None) -> RunRow | None:
    """Let a worker apply a staged or held run; None if it is neither, or another run of the source is active."""
    query = f"""
        UPDATE sync.runs SET state = 'queued', approved = true, heartbeat_at = now(), traceparent = %s
        WHERE id = %s AND state IN ('staged', 'held') AND NOT EXISTS (
            SELECT FROM sync.runs AS other WHERE other.source = runs.source AND other.id <> runs.id
                AND other.state IN ('queued', 'running', 'held', 'applying')
        )
        RETURNING {COLUMNS}
    """  # noqa: S608
    return await first_of(db, query, traceparent, run_id)


async def cancel(db: Postgres, run_id: UUID) -> RunRow | None:
    """End a run before its changes are applied; None if they are, or it has ended. Its worker stops within seconds."""
    query = f"""
        UPDATE sync.runs SET state = 'cancelled', error = 'cancelled by an admin', finished_at = now(),
            lease_until = NULL
        WHERE id = %s AND (state IN ('running', 'staged', 'held') OR (state = 'queued' AND NOT approved))
        RETURNING {COLUMNS}
    """  # noqa: S608
    return await first_of(db, query, run_id)


async def request_revert(db: Postgres, run: RunRow, mode: Mode, traceparent: str | None) -> RunRow | None:
    """A run that undoes `run`; None while another run of the source is active."""
    query = f"""
        INSERT INTO sync.runs (source, trigger, kind, mode, reverts, traceparent)
        VALUES (%s, 'manual', 'revert', %s, %s, %s) ON CONFLICT DO NOTHING
        RETURNING {COLUMNS}
    """  # noqa: S608
    return await first_of(db, query, run.source, mode, run.id, traceparent)
