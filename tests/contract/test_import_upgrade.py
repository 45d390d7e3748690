"""The schema of runs that are kept, while a catalog of the release before stages and merges."""

from uuid import uuid4

import psycopg
import pytest
from alembic import command

from common import migrations
from stack.servers.postgres import PostgresServer

# As the release before writes them.
OPEN = "INSERT INTO catalog.imports (source, run_id, fence) VALUES ('shop', %s, 1)"
STAGE = """
    COPY catalog.import_rows (source, external_id, name, description, price, currency, category, attributes) FROM STDIN
"""
REJECT = "COPY catalog.import_rejects (source, run_id, external_id, reason, payload) FROM STDIN"
ADVANCE = "UPDATE catalog.imports SET cursor = NULL, complete = true, staged = 2, rejected = 1 WHERE source = 'shop'"
CREATE = """
    INSERT INTO catalog.products
        (source, external_id, name, description, price, currency, category, attributes, synced_at)
    SELECT source, external_id, name, description, price, currency, category, attributes, now()
    FROM catalog.import_rows WHERE source = 'shop'
"""


@pytest.fixture
def catalog_dsn(migrated: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> str:
    url = migrated.url("catalog")
    monkeypatch.setenv("DATABASE_URL", url)
    return url


def test_what_is_staged_survives_the_upgrade_and_the_release_before_goes_on(catalog_dsn: str) -> None:
    made = migrations.config("catalog")
    command.downgrade(made, "0003")
    run_id = uuid4()
    with psycopg.connect(catalog_dsn, autocommit=True) as connection:
        connection.execute("DELETE FROM catalog.products")
        connection.execute(OPEN, [run_id])
        stage(connection, "a")
        command.upgrade(made, "head")
        stage(connection, "b")
        with connection.cursor().copy(REJECT) as copy:
            copy.write_row(("shop", run_id, "c", "price: is missing", "{}"))
        connection.execute(ADVANCE)
        assert connection.execute(CREATE).rowcount == 2
        kinds = "SELECT relpersistence FROM pg_class WHERE relname IN ('import_rows', 'import_rows_pkey') ORDER BY 1"
        assert connection.execute(kinds).fetchall() == [("u",), ("u",)]
        for table in ("products", "imports", "import_rows", "import_rejects", "product_counts"):
            connection.execute(f"DELETE FROM catalog.{table}")


def stage(connection: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    with connection.cursor().copy(STAGE) as copy:
        copy.write_row(("shop", name, name, "", 1, "USD", "things", "{}"))
