"""Products, their count, and the staging of imports."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# A list's total is the sum of these deltas: no counting of 100 000 rows, and no row that all writers lock. Now and
# then one writer sums up the rows that no other transaction holds.
COUNT_PRODUCTS = """
    CREATE FUNCTION catalog.count_products() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        difference bigint := 0;
    BEGIN
        IF TG_OP = 'TRUNCATE' THEN
            DELETE FROM catalog.product_counts;
            RETURN NULL;
        END IF;
        IF TG_OP IN ('INSERT', 'UPDATE') THEN
            difference := (SELECT count(*) FROM added WHERE deleted_at IS NULL);
        END IF;
        IF TG_OP IN ('DELETE', 'UPDATE') THEN
            difference := difference - (SELECT count(*) FROM removed WHERE deleted_at IS NULL);
        END IF;
        IF difference <> 0 THEN
            INSERT INTO catalog.product_counts (delta) VALUES (difference);
            IF random() < 0.01 THEN
                WITH taken AS (
                    DELETE FROM catalog.product_counts
                    WHERE id IN (SELECT id FROM catalog.product_counts FOR UPDATE SKIP LOCKED)
                    RETURNING delta
                )
                INSERT INTO catalog.product_counts (delta) SELECT sum(delta) FROM taken HAVING count(*) > 0;
            END IF;
        END IF;
        RETURN NULL;
    END
    $$
"""
TRIGGERS = {
    "insert": "REFERENCING NEW TABLE AS added",
    "update": "REFERENCING NEW TABLE AS added OLD TABLE AS removed",
    "delete": "REFERENCING OLD TABLE AS removed",
    "truncate": "",
}


def upgrade() -> None:
    op.create_table(
        "import_rejects",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("import_rejects_pkey")),
        schema="catalog",
    )
    op.create_index(
        op.f("import_rejects_source_run_id_idx"), "import_rejects", ["source", "run_id"], unique=False, schema="catalog"
    )
    op.create_table(
        "import_rows",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("price", sa.Numeric(precision=12, scale=2), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("brand", sa.Text(), nullable=True),
        sa.Column("sku", sa.Text(), nullable=True),
        sa.Column("stock", sa.BigInteger(), nullable=True),
        sa.Column("image_url", sa.Text(), nullable=True),
        sa.Column("attributes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("import_rows_pkey")),
        schema="catalog",
    )
    op.create_index(
        op.f("import_rows_source_external_id_id_idx"),
        "import_rows",
        ["source", "external_id", "id"],
        unique=False,
        schema="catalog",
    )
    op.create_table(
        "imports",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("complete", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("staged", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rejected", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("imports_pkey")),
        schema="catalog",
    )
    op.create_table(
        "product_counts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("delta", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("product_counts_pkey")),
        schema="catalog",
    )
    op.create_table(
        "products",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("price", sa.Numeric(precision=12, scale=2), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("brand", sa.Text(), nullable=True),
        sa.Column("sku", sa.Text(), nullable=True),
        sa.Column("stock", sa.BigInteger(), nullable=True),
        sa.Column("image_url", sa.Text(), nullable=True),
        sa.Column(
            "attributes", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("synced_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("pinned", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False),
        sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("(source IS NULL) = (external_id IS NULL)", name=op.f("products_origin_check")),
        sa.CheckConstraint("price >= 0", name=op.f("products_price_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("products_pkey")),
        sa.UniqueConstraint("source", "external_id", name=op.f("products_source_external_id_key")),
        schema="catalog",
    )
    op.execute(COUNT_PRODUCTS)
    for event, tables in TRIGGERS.items():
        op.execute(
            f"CREATE TRIGGER count_{event} AFTER {event} ON catalog.products {tables} "
            "FOR EACH STATEMENT EXECUTE FUNCTION catalog.count_products()"
        )


def downgrade() -> None:
    op.drop_table("products", schema="catalog")
    op.drop_table("product_counts", schema="catalog")
    op.drop_table("imports", schema="catalog")
    op.drop_index(op.f("import_rows_source_external_id_id_idx"), table_name="import_rows", schema="catalog")
    op.drop_table("import_rows", schema="catalog")
    op.drop_index(op.f("import_rejects_source_run_id_idx"), table_name="import_rejects", schema="catalog")
    op.drop_table("import_rejects", schema="catalog")
    op.execute("DROP FUNCTION catalog.count_products()")
