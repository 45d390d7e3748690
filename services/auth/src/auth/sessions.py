"""Questions about sessions and their refresh tokens, one statement each."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth.models import RefreshToken, Session, User

__all__ = [
    "add",
    "add_token",
    "delete_expired",
    "extend",
    "find_locked",
    "mark_repeated",
    "mark_used",
    "revoke",
    "revoke_by_token",
]


async def add(db: AsyncSession, user_id: UUID, *, expires_at: datetime) -> UUID:
    """A new session; its id is the `sid` of access tokens."""
    statement = insert(Session).values(user_id=user_id, expires_at=expires_at).returning(Session.id)
    return (await db.execute(statement)).scalar_one()


async def add_token(db: AsyncSession, session_id: UUID, token_hash: bytes) -> None:
    await db.execute(insert(RefreshToken).values(token_hash=token_hash, session_id=session_id))


async def find_locked(db: AsyncSession, token_hash: bytes) -> tuple[RefreshToken, Session, User] | None:
    """A refresh token with its session and user; both stay locked, so that uses of a session take turns."""
    statement = select(RefreshToken, Session, User).where(RefreshToken.token_hash == token_hash)
    statement = statement.join(Session, Session.id == RefreshToken.session_id).join(User, User.id == Session.user_id)
    row = (await db.execute(statement.with_for_update(of=[Session, RefreshToken]))).one_or_none()
    return row._tuple() if row else None


async def mark_used(db: AsyncSession, token_hash: bytes, now: datetime) -> None:
    await db.execute(update(RefreshToken).where(RefreshToken.token_hash == token_hash).values(used_at=now))


async def mark_repeated(db: AsyncSession, token_hash: bytes, now: datetime) -> None:
    await db.execute(update(RefreshToken).where(RefreshToken.token_hash == token_hash).values(repeated_at=now))


async def extend(db: AsyncSession, session_id: UUID, expires_at: datetime) -> None:
    await db.execute(update(Session).where(Session.id == session_id).values(expires_at=expires_at))


async def revoke(db: AsyncSession, session_id: UUID) -> None:
    statement = update(Session).where(Session.id == session_id, Session.revoked_at.is_(None))
    await db.execute(statement.values(revoked_at=func.now()))


async def revoke_by_token(db: AsyncSession, token_hash: bytes) -> None:
    """End the session of any of its refresh tokens, used or not; nothing happens for an unknown one."""
    of_token = select(RefreshToken.session_id).where(RefreshToken.token_hash == token_hash).scalar_subquery()
    statement = update(Session).where(Session.id == of_token, Session.revoked_at.is_(None))
    await db.execute(statement.values(revoked_at=func.now()))


async def delete_expired(db: AsyncSession, user_id: UUID, now: datetime) -> None:
    """Drop a user's sessions that ended a day ago or more, with their tokens."""
    await db.execute(delete(Session).where(Session.user_id == user_id, Session.expires_at < now - timedelta(days=1)))
