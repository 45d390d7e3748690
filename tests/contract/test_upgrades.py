"""The release before goes on serving while the schema of the next one is made, and after it."""

import asyncio
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from alembic import command

from catalog.app import build
from catalog.settings import CatalogSettings
from common import migrations
from stack.servers.postgres import PostgresServer
from tests.fixtures.catalog import Auth
from tests.fixtures.service import serving

# What an additive migration may do to a table in use, locked against everybody meanwhile.
NEXT = """
revision, down_revision = "{revision}", "{head}"

def upgrade():
    from alembic import op
    op.execute("ALTER TABLE catalog.products ADD COLUMN warranty text, ADD COLUMN heft numeric NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE catalog.products ADD CONSTRAINT heft_check CHECK (heft >= 0) NOT VALID")
    op.execute("CREATE INDEX products_warranty ON catalog.products (warranty)")
    op.execute("CREATE TABLE catalog.shelves (id bigint PRIMARY KEY)")

def downgrade():
    from alembic import op
    op.execute("DROP TABLE catalog.shelves")
    op.execute("ALTER TABLE catalog.products DROP COLUMN warranty, DROP COLUMN heft")
"""
LAMP = {"name": "Lamp", "description": "Bright", "price": 9.99, "category": "light"}


@pytest.fixture
def next_release(migrated: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The migrations of a catalog that is one release ahead of the code."""
    here = tmp_path / "migrations"
    shutil.copytree(Path(str(migrations.config("catalog").get_main_option("script_location"))), here)
    head = max(path.name for path in (here / "versions").glob("*.py"))[:4]
    revision = f"{int(head) + 1:04d}"
    (here / "versions" / f"{revision}_later.py").write_text(NEXT.format(revision=revision, head=head))
    made = migrations.config("catalog")
    made.set_main_option("script_location", str(here))
    monkeypatch.setattr(migrations, "config", lambda service: made)
    monkeypatch.setenv("DATABASE_URL", migrated.url("catalog"))
    yield here
    command.downgrade(made, head)


async def test_reads_and_writes_go_on(
    next_release: Path, migrated: PostgresServer, valkey_url: str, auth_process: Auth, caplog: pytest.LogCaptureFixture
) -> None:
    url = migrated.url("catalog")
    values = {"database_url": url, "redis_url": valkey_url, "auth_url": auth_process.url}
    settings = CatalogSettings.model_validate(values)
    answers: Counter[tuple[str, int]] = Counter()
    async with serving(build(settings)) as client:
        client.headers.update(auth_process.admin)
        made = (await client.post("/products", json=LAMP)).raise_for_status().json()

        async def ask(method: str, path: str, body: object) -> None:
            while True:
                answers[method, (await client.request(method, path, json=body)).status_code] += 1

        path = f"/products/{made['id']}"
        asked = [("GET", "/products", None), ("GET", path, None), ("POST", "/products", LAMP), ("PUT", path, LAMP)]
        askers = [asyncio.create_task(ask(*it)) for it in asked]
        with psycopg.connect(url) as reader:
            # Such as a backup: the migration waits for it, and everybody else for the migration.
            reader.execute("SELECT count(*) FROM catalog.products")
            upgrade = asyncio.create_task(asyncio.to_thread(migrations.upgrade, "catalog"))
            async with asyncio.timeout(30):
                while caplog.text.count("a table is in use; trying again") < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        await upgrade
        after = answers.total()
        async with asyncio.timeout(30):
            while answers.total() < after + 40:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (await client.get("/health")).status_code == 200
        for asker in askers:
            asker.cancel()
    assert set(answers) == {("GET", 200), ("POST", 201), ("PUT", 200)}, answers
