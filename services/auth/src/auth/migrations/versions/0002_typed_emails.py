"""Emails as they were typed, beside the key they are compared by; indexes for what is deleted by age."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INDEXES = {
    "sessions_expires_at_idx": ("sessions", "expires_at"),
    "refresh_tokens_used_at_idx": ("refresh_tokens", "used_at"),
}


def upgrade() -> None:
    op.add_column("users", sa.Column("email_typed", sa.Text(), nullable=True), schema="auth")
    # Not in a transaction, so that writes go on while the indexes are built.
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = '60s'")
        for name, (table, column) in INDEXES.items():
            op.drop_index(name, table, schema="auth", if_exists=True, postgresql_concurrently=True)
            op.create_index(name, table, [column], schema="auth", postgresql_concurrently=True)
        op.execute("RESET lock_timeout")


def downgrade() -> None:
    for name, (table, _) in INDEXES.items():
        op.drop_index(name, table, schema="auth")
    op.drop_column("users", "email_typed", schema="auth")
