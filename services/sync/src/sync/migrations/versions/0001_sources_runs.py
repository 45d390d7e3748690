"""Sources and their runs."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _count(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False)


def _time(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), nullable=True)


def _now(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False)


def upgrade() -> None:
    op.create_table(
        "sources",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False, comment="Without credentials and query."),
        _count("fence"),
        _now("created_at"),
        sa.PrimaryKeyConstraint("name", name="sources_pkey"),
        schema="sync",
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'queued'"), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("slot", sa.BigInteger(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=True),
        _count("attempt"),
        _time("lease_until"),
        sa.Column("traceparent", sa.Text(), nullable=True),
        *(_count(name) for name in ("fetched", "created", "updated", "unchanged", "rejected", "pages")),
        sa.Column("error", sa.Text(), nullable=True),
        _now("created_at"),
        *(_time(name) for name in ("started_at", "finished_at", "heartbeat_at")),
        sa.PrimaryKeyConstraint("id", name="runs_pkey"),
        sa.ForeignKeyConstraint(["source"], ["sync.sources.name"], name="runs_source_fkey"),
        sa.CheckConstraint("state IN ('queued', 'running', 'succeeded', 'failed')", name="runs_state_check"),
        sa.CheckConstraint("trigger IN ('manual', 'schedule', 'initial')", name="runs_trigger_check"),
        sa.UniqueConstraint("source", "slot", name="runs_source_slot_key"),
        schema="sync",
    )
    op.create_index("runs_source_created_at_idx", "runs", ["source", "created_at"], schema="sync")
    op.create_index(
        "runs_active_key",
        "runs",
        ["source"],
        unique=True,
        schema="sync",
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )


def downgrade() -> None:
    op.drop_table("runs", schema="sync")
    op.drop_table("sources", schema="sync")
