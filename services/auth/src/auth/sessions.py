"""Queries on sessions and their refresh tokens, one statement each."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth.models import RefreshToken, Session, User
from common.web.orm import OrmDatabase

__all__ = [
    "add",
    "add_token",
    "count_used",
    "delete_old",
    "extend",
    "find_for_update",
    "mark_used",
    "revoke",
    "revoke_by_token",
    "revoke_oldest",
]


# How many rows one transaction deletes.
BATCH = 1000


async def add(db: AsyncSession, user_id: UUID, *, expires_at: datetime) -> UUID:
    """A new session; its id is the claim `sid` of access tokens."""
    statement = insert(Session).values(user_id=user_id, expires_at=expires_at).returning(Session.id)
    return (await db.execute(statement)).scalar_one()


async def add_token(db: AsyncSession, session_id: UUID, token_hash: bytes) -> bool:
    """Store a refresh token unless it is stored; whether it is unused."""
    statement = insert(RefreshToken).values(token_hash=token_hash, session_id=session_id)
    same = statement.on_conflict_do_update(index_elements=[RefreshToken.token_hash], set_={"session_id": session_id})
    return await db.scalar(same.returning(RefreshToken.used_at)) is None


async def find_for_update(db: AsyncSession, token_hash: bytes) -> tuple[RefreshToken, Session, User] | None:
    """A refresh token with its session and user. Token and session are locked: one refresh at a time."""
    statement = select(RefreshToken, Session, User).where(RefreshToken.token_hash == token_hash)
    statement = statement.join(Session, Session.id == RefreshToken.session_id).join(User, User.id == Session.user_id)
    row = (await db.execute(statement.with_for_update(of=[Session, RefreshToken]))).one_or_none()
    return row._tuple() if row else None


async def mark_used(db: AsyncSession, token_hash: bytes, now: datetime) -> None:
    await db.execute(update(RefreshToken).where(RefreshToken.token_hash == token_hash).values(used_at=now))


async def count_used(db: AsyncSession, session_id: UUID, since: datetime) -> int:
    """How many tokens of the session were used since then."""
    used = select(func.count()).where(RefreshToken.session_id == session_id, RefreshToken.used_at > since)
    return (await db.execute(used)).scalar_one()


async def extend(db: AsyncSession, session_id: UUID, expires_at: datetime) -> None:
    await db.execute(update(Session).where(Session.id == session_id).values(expires_at=expires_at))


async def revoke(db: AsyncSession, session_id: UUID) -> None:
    statement = update(Session).where(Session.id == session_id, Session.revoked_at.is_(None))
    await db.execute(statement.values(revoked_at=func.now()))


async def revoke_by_token(db: AsyncSession, token_hash: bytes) -> None:
    """Revoke the session of any of its refresh tokens, used or not; an unknown token changes nothing."""
    of_token = select(RefreshToken.session_id).where(RefreshToken.token_hash == token_hash).scalar_subquery()
    statement = update(Session).where(Session.id == of_token, Session.revoked_at.is_(None))
    await db.execute(statement.values(revoked_at=func.now()))


async def revoke_oldest(db: AsyncSession, user_id: UUID, *, keep: int) -> None:
    """Revoke all sessions of a user but the newest `keep`."""
    live = select(Session.id).where(
        Session.user_id == user_id, Session.revoked_at.is_(None), Session.expires_at > func.now()
    )
    oldest = live.order_by(Session.created_at.desc(), Session.id).offset(keep)
    await db.execute(update(Session).where(Session.id.in_(oldest)).values(revoked_at=func.now()))


async def delete_old(db: OrmDatabase) -> None:
    """Delete sessions a day after their end, with their tokens, and refresh tokens a week after their use.

    No handler calls this. Each batch is a transaction of its own, so that none locks many rows for long.
    """
    day, week = timedelta(days=1), timedelta(days=7)
    ended = select(Session.id).where(Session.expires_at < func.now() - day)
    used = select(RefreshToken.token_hash).where(RefreshToken.used_at < func.now() - week)
    for table, key, old in ((Session, Session.id, ended), (RefreshToken, RefreshToken.token_hash, used)):
        deleted = BATCH
        while deleted == BATCH:
            async with db.write_session() as session:
                batch = old.limit(BATCH).with_for_update(skip_locked=True)
                deleted = len((await session.scalars(delete(table).where(key.in_(batch)).returning(key))).all())
