"""Fills a migrated catalog with made-up products, fast, and what it is compared with."""

import psycopg

SEED = """
    INSERT INTO catalog.products (name, description, price, currency, category, brand, sku, stock, image_url,
                                  attributes, source, external_id, synced_at)
    SELECT 'Product ' || n, repeat('A fine thing to have, and cheap. ', 4), (n %% 99999) / 100.0 + 0.01, 'USD',
           'category-' || n %% 24, 'Brand ' || n %% 100, 'SKU-' || n, n %% 500, 'https://example.com/' || n || '.webp',
           jsonb_build_object('rating', 4.5, 'tags', jsonb_build_array('a', 'b'), 'weight', n %% 10),
           'seed', n::text, now()
    FROM generate_series(1, %s) AS n
"""

# As its authors would make it: no index for their count of all rows, no triggers.
REFERENCE = """
    CREATE SCHEMA reference AUTHORIZATION catalog_svc;
    CREATE TABLE reference.products (LIKE catalog.products INCLUDING DEFAULTS INCLUDING IDENTITY INCLUDING CONSTRAINTS);
    ALTER TABLE reference.products OWNER TO catalog_svc;
    INSERT INTO reference.products OVERRIDING SYSTEM VALUE SELECT * FROM catalog.products;
    ALTER TABLE reference.products ADD PRIMARY KEY (id), ADD UNIQUE (source, external_id);
    SELECT setval(pg_get_serial_sequence('reference.products', 'id'), (SELECT max(id) FROM reference.products));
"""


def seed(database_url: str, products: int) -> None:
    """Insert `products` live products and give the planner fresh figures."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SEED, [products])
        connection.execute("VACUUM ANALYZE catalog.products")
        connection.execute("VACUUM ANALYZE catalog.product_counts")


def seed_reference(database_url: str) -> None:
    """The same products in a table of their own for the reference and Fastify."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(REFERENCE)
        connection.execute("VACUUM ANALYZE reference.products")
