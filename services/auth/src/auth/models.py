"""The tables of schema `auth`."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, MetaData, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "KeyState", "RefreshToken", "Session", "SigningKey", "User"]

Time = DateTime(timezone=True)


class KeyState(StrEnum):
    """One key is ACTIVE and signs. Others are published for tokens of the time before or after it."""

    NEXT = "next"
    ACTIVE = "active"
    RETIRED = "retired"


class Base(DeclarativeBase):
    metadata = MetaData(
        schema="auth",
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "uq": "%(table_name)s_%(column_0_name)s_key",
            "fk": "%(table_name)s_%(column_0_name)s_fkey",
            "ck": "%(table_name)s_%(constraint_name)s",
            "ix": "%(table_name)s_%(column_0_name)s_idx",
        },
    )


class User(Base):
    """An account. `email` is what emails are compared by, the key of `auth.emails`; `email_typed` is what is shown.

    Accounts of release 0.1.0 have only `email`, which was casefolded then.
    """

    __tablename__ = "users"
    __table_args__ = (CheckConstraint("role IN ('user', 'admin')", name="role"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    email: Mapped[str] = mapped_column(Text, unique=True)
    email_typed: Mapped[str | None] = mapped_column(Text)
    password_hash: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Time, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(Time, server_default=func.now())

    @property
    def shown_email(self) -> str:
        return self.email_typed or self.email


class Session(Base):
    """One login: a chain of refresh tokens, each the successor of the one before, which are revoked together."""

    __tablename__ = "sessions"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(Time, server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(Time, index=True)
    revoked_at: Mapped[datetime | None] = mapped_column(Time)


class RefreshToken(Base):
    """A refresh token by its SHA-256. Used ones are kept for a week, so that reuse of a stolen one is noticed.

    Only release 0.1.0 writes `repeated_at`.
    """

    __tablename__ = "refresh_tokens"

    token_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    session_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Session.id, ondelete="CASCADE"), index=True)
    used_at: Mapped[datetime | None] = mapped_column(Time, index=True)
    repeated_at: Mapped[datetime | None] = mapped_column(Time)


class SigningKey(Base):
    """A key pair that signs tokens; the private half is encrypted with SECRET_KEY."""

    __tablename__ = "signing_keys"
    __table_args__ = (
        CheckConstraint("state IN ('next', 'active', 'retired')", name="state"),
        Index("signing_keys_one_active", "state", unique=True, postgresql_where=text("state = 'active'")),
    )

    kid: Mapped[str] = mapped_column(Text, primary_key=True)
    public_jwk: Mapped[dict[str, Any]] = mapped_column(JSONB)
    private_key: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Time, server_default=func.now())
