"""Counting costs an update nothing unless it deletes or restores, and an insert or delete one statement less."""

from importlib import import_module

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# A sync inserts many rows at once, so inserts are counted for each statement. An update rarely changes the count: a
# trigger for each row, with a condition, is not even called, and no statement collects its rows for it.
COUNT_PRODUCTS = """
    CREATE OR REPLACE FUNCTION catalog.count_products() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO catalog.product_counts (delta)
            SELECT count(*) FROM added WHERE deleted_at IS NULL HAVING count(*) > 0;
        ELSIF TG_OP = 'UPDATE' THEN
            INSERT INTO catalog.product_counts (delta) VALUES (CASE WHEN NEW.deleted_at IS NULL THEN 1 ELSE -1 END);
        ELSIF TG_OP = 'DELETE' THEN
            INSERT INTO catalog.product_counts (delta)
            SELECT -count(*) FROM removed WHERE deleted_at IS NULL HAVING count(*) > 0;
        ELSE
            DELETE FROM catalog.product_counts;
            RETURN NULL;
        END IF;
        IF random() < 0.01 THEN
            WITH taken AS (
                DELETE FROM catalog.product_counts
                WHERE id IN (SELECT id FROM catalog.product_counts FOR UPDATE SKIP LOCKED)
                RETURNING delta
            )
            INSERT INTO catalog.product_counts (delta) SELECT sum(delta) FROM taken HAVING count(*) > 0;
        END IF;
        RETURN NULL;
    END
    $$
"""


def upgrade() -> None:
    _replace_update_trigger(COUNT_PRODUCTS, "FOR EACH ROW WHEN ((OLD.deleted_at IS NULL) <> (NEW.deleted_at IS NULL))")


def downgrade() -> None:
    first = import_module("catalog.migrations.versions.0001_products_and_imports")
    function = first.COUNT_PRODUCTS.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
    _replace_update_trigger(function, f"{first.TRIGGERS['update']} FOR EACH STATEMENT")


def _replace_update_trigger(function: str, each: str) -> None:
    """In one transaction, which keeps writers out: nobody writes between the two triggers."""
    op.execute("DROP TRIGGER count_update ON catalog.products")
    op.execute(function)
    op.execute(
        f"CREATE TRIGGER count_update AFTER UPDATE ON catalog.products {each} EXECUTE FUNCTION catalog.count_products()"
    )
