"""Users, sessions with their refresh tokens, and signing keys."""

import datetime
import uuid

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _id() -> sa.Column[uuid.UUID]:
    return sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False)


def _time(name: str, *, nullable: bool = False, now: bool = False) -> sa.Column[datetime.datetime]:
    default = sa.text("now()") if now else None
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "users",
        _id(),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        _time("created_at", now=True),
        _time("updated_at", now=True),
        sa.CheckConstraint("role IN ('user', 'admin')", name="users_role"),
        sa.PrimaryKeyConstraint("id", name="users_pkey"),
        sa.UniqueConstraint("email", name="users_email_key"),
        schema="auth",
    )
    op.create_table(
        "sessions",
        _id(),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        _time("created_at", now=True),
        _time("expires_at"),
        _time("revoked_at", nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["auth.users.id"], name="sessions_user_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="sessions_pkey"),
        schema="auth",
    )
    op.create_index("sessions_user_id_idx", "sessions", ["user_id"], schema="auth")
    op.create_table(
        "refresh_tokens",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        _time("used_at", nullable=True),
        _time("repeated_at", nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"], ["auth.sessions.id"], name="refresh_tokens_session_id_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_hash", name="refresh_tokens_pkey"),
        schema="auth",
    )
    op.create_index("refresh_tokens_session_id_idx", "refresh_tokens", ["session_id"], schema="auth")
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("public_jwk", postgresql.JSONB(), nullable=False),
        sa.Column("private_key", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        _time("created_at", now=True),
        sa.CheckConstraint("state IN ('next', 'active', 'retired')", name="signing_keys_state"),
        sa.PrimaryKeyConstraint("kid", name="signing_keys_pkey"),
        schema="auth",
    )
    op.create_index(
        "signing_keys_one_active",
        "signing_keys",
        ["state"],
        unique=True,
        schema="auth",
        postgresql_where=sa.text("state = 'active'"),
    )


def downgrade() -> None:
    for table in ("signing_keys", "refresh_tokens", "sessions", "users"):
        op.drop_table(table, schema="auth")
