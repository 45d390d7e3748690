"""Indexes on the live products alone, and on the deleted ones that are purged by age."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LIVE = "products_live_idx"
DELETED = "products_deleted_idx"


def upgrade() -> None:
    # Not in a transaction, so that writes go on while the indexes are built. Building waits for older transactions,
    # but nobody waits behind it. A build that was interrupted leaves an index that is not valid.
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = '60s'")
        for name, column, where in (
            (LIVE, "id", "deleted_at IS NULL"),
            (DELETED, "deleted_at", "deleted_at IS NOT NULL AND source IS NULL"),
        ):
            op.drop_index(name, "products", schema="catalog", if_exists=True, postgresql_concurrently=True)
            op.create_index(
                name, "products", [column], schema="catalog",
                postgresql_where=sa.text(where), postgresql_concurrently=True,
            )  # fmt: skip
        op.execute("RESET lock_timeout")


def downgrade() -> None:
    op.drop_index(LIVE, "products", schema="catalog")
    op.drop_index(DELETED, "products", schema="catalog")
