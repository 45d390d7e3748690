"""What the API reads of sources and runs; what changes them is in `sync.runs`."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from sync.errors import RunNotFound
from sync.models import Run, Source
from sync.states import ACTIVE, ENDED, RunState

__all__ = ["active_run", "get_run", "last_run", "last_success", "list_sources"]


async def get_run(session: AsyncSession, run_id: UUID) -> Run:
    """Raises RunNotFound."""
    if (run := await session.get(Run, run_id)) is None:
        raise RunNotFound(run_id)
    return run


async def active_run(session: AsyncSession, source: str) -> Run | None:
    """The one run of the source that is queued or running."""
    query = select(Run).where(Run.source == source, Run.state.in_(ACTIVE))
    return (await session.scalars(query)).one_or_none()


async def last_run(session: AsyncSession, source: str) -> Run | None:
    """The newest run of the source that has ended."""
    query = select(Run).where(Run.source == source, Run.state.in_(ENDED)).order_by(Run.created_at.desc()).limit(1)
    return (await session.scalars(query)).one_or_none()


async def list_sources(session: AsyncSession) -> Sequence[Row[tuple[str, str, str, datetime | None]]]:
    """Name, provider, url and `succeeded_at`, the end of the last run that succeeded, of each source."""
    succeeded_at = (
        select(func.max(Run.finished_at))
        .where(Run.source == Source.name, Run.state == RunState.SUCCEEDED)
        .scalar_subquery()
        .label("succeeded_at")
    )
    query = select(Source.name, Source.provider, Source.url, succeeded_at).order_by(Source.name)
    return (await session.execute(query)).all()


async def last_success(session: AsyncSession) -> datetime | None:
    """When a run of any source last succeeded."""
    return await session.scalar(select(func.max(Run.finished_at)).where(Run.state == RunState.SUCCEEDED))
