"""Queries on users, one statement each."""

from uuid import UUID

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth.emails import Email
from auth.errors import EmailTaken
from auth.models import User
from common.web.tokens import Role

__all__ = [
    "add",
    "admin_exists",
    "find",
    "find_by_email",
    "is_admin",
    "is_last_admin",
    "lock_admins",
    "promote",
    "remove",
]


async def find(db: AsyncSession, user_id: UUID) -> User | None:
    return (await db.scalars(select(User).where(User.id == user_id))).one_or_none()


async def find_by_email(db: AsyncSession, email: Email) -> User | None:
    """By the key of the email, or by what release 0.1.0 stored of it."""
    old = (User.email == email.folded) & User.email_typed.is_(None)
    statement = select(User).where((User.email == email.key) | old).order_by((User.email == email.key).desc())
    return (await db.scalars(statement.limit(1))).one_or_none()


async def add(db: AsyncSession, *, email: Email, password_hash: str, role: Role) -> User:
    """A new user; raises EmailTaken, also to all but one of several at the same time."""
    if email.folded != email.key and await find_by_email(db, email) is not None:
        raise EmailTaken
    values = {"email": email.key, "email_typed": email.typed, "password_hash": password_hash, "role": role}
    statement = insert(User).values(values).on_conflict_do_nothing(index_elements=[User.email])
    user = (await db.scalars(statement.returning(User))).one_or_none()
    if user is None:
        raise EmailTaken
    return user


async def admin_exists(db: AsyncSession) -> bool:
    return bool(await db.scalar(select(exists().where(User.role == Role.ADMIN))))


async def is_admin(db: AsyncSession, user_id: UUID) -> bool:
    """Whether the user is an admin now; a token may be older."""
    return bool(await db.scalar(select(exists().where(User.id == user_id, User.role == Role.ADMIN))))


async def lock_admins(db: AsyncSession) -> None:
    """Until the transaction ends, others wait here before they look whether there is an admin."""
    await db.execute(select(func.pg_advisory_xact_lock(func.hashtext("auth.first_admin"))))


async def promote(db: AsyncSession, user_id: UUID) -> None:
    await db.execute(update(User).where(User.id == user_id).values(role=Role.ADMIN, updated_at=func.now()))


async def is_last_admin(db: AsyncSession, user: User) -> bool:
    """Whether there would be no admin without this user."""
    return user.role == Role.ADMIN and not await db.scalar(
        select(exists().where(User.role == Role.ADMIN, User.id != user.id))
    )


async def remove(db: AsyncSession, user_id: UUID) -> None:
    """Delete the account and its sessions."""
    await db.execute(delete(User).where(User.id == user_id))
