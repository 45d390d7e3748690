"""The schema goes up and down, and is what the models say."""

from urllib.parse import urlsplit

import psycopg
import pytest
from alembic import command

from common import migrations


@pytest.fixture
def empty_database(postgres: str, sync_database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of its own with nothing in schema sync."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS sync_migrations")
        connection.execute("CREATE DATABASE sync_migrations")
    with psycopg.connect(urlsplit(postgres)._replace(path="/sync_migrations").geturl(), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA sync AUTHORIZATION sync_svc")
    url = urlsplit(sync_database)._replace(path="/sync_migrations").geturl()
    monkeypatch.setenv("DATABASE_URL", url)
    return url


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'sync'")}


def test_up_down_up(empty_database: str) -> None:
    for _ in range(2):
        migrations.upgrade("sync")
        assert tables(empty_database) == {"alembic_version", "runs", "sources"}
        command.downgrade(migrations.config("sync"), "base")
        assert tables(empty_database) == {"alembic_version"}


def test_models_and_migrations_agree(empty_database: str) -> None:
    migrations.upgrade("sync")
    command.check(migrations.config("sync"))
