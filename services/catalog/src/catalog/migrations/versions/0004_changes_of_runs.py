"""Runs that are planned, applied in pieces and reverted; staging that writes nothing ahead."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

EMPTY = sa.text("'{}'::jsonb")


def upgrade() -> None:
    # This rewrites the table, which is small: a merge empties it. It comes first, so that products is locked for no
    # longer than its columns take. The release before neither reads nor writes what is added to its tables.
    op.execute("ALTER TABLE catalog.import_rows SET UNLOGGED")
    op.add_column("import_rejects", sa.Column("position", sa.BigInteger(), nullable=True), schema="catalog")
    op.create_table(
        "import_runs",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("missing", sa.Text(), server_default=sa.text("'keep'"), nullable=False),
        sa.Column("position", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("counts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("import_runs_pkey")),
        schema="catalog",
    )
    op.create_table(
        "run_changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("applied_version", sa.BigInteger(), nullable=True),
        sa.Column("old", postgresql.JSONB(astext_type=sa.Text()), server_default=EMPTY, nullable=False),
        sa.Column("new", postgresql.JSONB(astext_type=sa.Text()), server_default=EMPTY, nullable=False),
        sa.Column("skipped", postgresql.JSONB(astext_type=sa.Text()), server_default=EMPTY, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("run_changes_pkey")),
        schema="catalog",
    )
    op.create_index(op.f("run_changes_run_id_id_idx"), "run_changes", ["run_id", "id"], schema="catalog")
    for name in ("missing_since", "removed_at"):
        op.add_column("products", sa.Column(name, sa.TIMESTAMP(timezone=True), nullable=True), schema="catalog")


def downgrade() -> None:
    for name in ("removed_at", "missing_since"):
        op.drop_column("products", name, schema="catalog")
    op.drop_table("run_changes", schema="catalog")
    op.drop_table("import_runs", schema="catalog")
    op.drop_column("import_rejects", "position", schema="catalog")
    op.execute("ALTER TABLE catalog.import_rows SET LOGGED")
