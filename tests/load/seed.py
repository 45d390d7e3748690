"""Fills a migrated catalog with made-up products, fast."""

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


def seed(database_url: str, products: int) -> None:
    """Insert `products` live products and give the planner fresh figures."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SEED, [products])
        connection.execute("VACUUM ANALYZE catalog.products")
        connection.execute("VACUUM ANALYZE catalog.product_counts")
