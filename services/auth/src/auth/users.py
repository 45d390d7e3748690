"""Questions about users, one statement each."""

from uuid import UUID

from sqlalchemy import delete, exists, func, select, text, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession

from auth.errors import EmailTaken
from auth.models import Role, User

__all__ = ["add", "admin_exists", "find", "find_by_email", "is_admin", "lock_first_admin", "promote", "remove"]


async def find(db: AsyncSession, user_id: UUID) -> User | None:
    return (await db.scalars(select(User).where(User.id == user_id))).one_or_none()


async def find_by_email(db: AsyncSession, email: str) -> User | None:
    """By the normalised email."""
    return (await db.scalars(select(User).where(User.email == email))).one_or_none()


async def add(db: AsyncSession, *, email: str, password_hash: str, role: Role) -> User:
    """A new user; raises EmailTaken, also to all but one of those who come at once."""
    values = {"email": email, "password_hash": password_hash, "role": role}
    statement = postgresql.insert(User).values(values).on_conflict_do_nothing(index_elements=[User.email])
    user = (await db.scalars(statement.returning(User))).one_or_none()
    if user is None:
        raise EmailTaken
    return user


async def admin_exists(db: AsyncSession) -> bool:
    return bool(await db.scalar(select(exists().where(User.role == "admin"))))


async def is_admin(db: AsyncSession, user_id: UUID) -> bool:
    """Whether the user is an admin now, whatever an older token says."""
    return bool(await db.scalar(select(exists().where(User.id == user_id, User.role == "admin"))))


async def lock_first_admin(db: AsyncSession) -> None:
    """Until the transaction ends, nobody else can be deciding whether there is an admin."""
    await db.execute(text("SELECT pg_advisory_xact_lock(hashtext('auth.first_admin'))"))


async def promote(db: AsyncSession, user_id: UUID) -> None:
    await db.execute(update(User).where(User.id == user_id).values(role="admin", updated_at=func.now()))


async def remove(db: AsyncSession, email: str) -> bool:
    """Delete the account and with it its sessions; whether there was one."""
    return await db.scalar(delete(User).where(User.email == email).returning(User.id)) is not None
