"""Sources of the API beside that of the environment, and runs that wait for an admin.

Every new column has a default or may be null, so the release before goes on meanwhile.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATES = "'queued', 'running', 'staged', 'held', 'applying', 'succeeded', 'failed', 'cancelled'"
ACTIVE = "'queued', 'running', 'held', 'applying'"
COUNTS = ("removed", "pinned", "deleted", "duplicates", "conflicts")


def _text(name: str, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(
        name, sa.Text(), nullable=default is None, server_default=sa.text(f"'{default}'") if default else None
    )


def _flag(name: str, default: bool) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean(), server_default=sa.text(str(default).lower()), nullable=False)


def _document(name: str) -> sa.Column[Any]:
    return sa.Column(name, JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False)


def _source_columns() -> list[sa.Column[Any]]:
    return [
        _text("managed_by", "environment"),
        _text("label"),
        _document("options"),
        _document("limits"),
        _document("brake"),
        _flag("enabled", True),
        sa.Column("interval_minutes", sa.BigInteger(), server_default=sa.text("30"), nullable=True),
        _text("cron"),
        _text("timezone", "UTC"),
        _text("missing", "keep"),
        _flag("auto_apply", True),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
    ]


def _run_columns() -> list[sa.Column[Any]]:
    return [
        _text("mode", "apply"),
        _text("kind", "sync"),
        sa.Column("pass_id", sa.Uuid(), nullable=True),
        sa.Column("reverts", sa.Uuid(), nullable=True),
        _flag("approved", False),
        _text("held_for"),
        _flag("resumable", False),
        sa.Column("retry_at", sa.TIMESTAMP(timezone=True), nullable=True),
        *(sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False) for name in COUNTS),
    ]


CHECKS = {
    "sources": {"managed_by": "'environment', 'api', 'deleted'", "missing": "'keep', 'mark', 'remove'"},
    "runs": {"mode": "'apply', 'plan'", "kind": "'sync', 'revert'"},
}


def upgrade() -> None:
    for table, columns in (("sources", _source_columns()), ("runs", _run_columns())):
        for column in columns:
            op.add_column(table, column, schema="sync")
        for name, values in CHECKS[table].items():
            op.create_check_constraint(op.f(f"{table}_{name}_check"), table, f"{name} IN ({values})", schema="sync")
    op.create_unique_constraint(op.f("sources_label_key"), "sources", ["label"], schema="sync")
    _allow(STATES, "'manual', 'schedule', 'initial', 'retry'")
    # No statement of the release before names the index, so it may be replaced while that runs.
    op.create_index(
        "runs_one_active_key",
        "runs",
        ["source"],
        unique=True,
        schema="sync",
        postgresql_where=sa.text(f"state IN ({ACTIVE})"),
    )
    op.drop_index("runs_active_key", "runs", schema="sync")


def downgrade() -> None:
    op.execute("UPDATE sync.runs SET state = 'failed' WHERE state IN ('staged', 'held', 'applying', 'cancelled')")
    op.execute("UPDATE sync.runs SET trigger = 'manual' WHERE trigger = 'retry'")
    _allow("'queued', 'running', 'succeeded', 'failed'", "'manual', 'schedule', 'initial'")
    op.create_index(
        "runs_active_key",
        "runs",
        ["source"],
        unique=True,
        schema="sync",
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.drop_index("runs_one_active_key", "runs", schema="sync")
    for table, columns in (("sources", _source_columns()), ("runs", _run_columns())):
        for column in columns:
            op.drop_column(table, column.name, schema="sync")


def _allow(states: str, triggers: str) -> None:
    """Replace the lists of values that a run's state and trigger may have."""
    for name, values in {"state": states, "trigger": triggers}.items():
        # The first revision gave them these names.
        constraint = op.f(f"runs_runs_{name}_check_check")
        op.drop_constraint(constraint, "runs", schema="sync")
        op.create_check_constraint(constraint, "runs", f"{name} IN ({values})", schema="sync")
