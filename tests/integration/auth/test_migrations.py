"""The schema: its migrations match the models, and go down and up again."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command

from common import migrations

SERVICE = Path(__file__).parents[3] / "services" / "auth"
STRUCTURE = """
    SELECT table_name, column_name, data_type, is_nullable, column_default, 'column'
    FROM information_schema.columns WHERE table_schema = 'auth'
    UNION ALL
    SELECT c.conrelid::regclass::text, c.conname, pg_get_constraintdef(c.oid), '', '', 'constraint'
    FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace WHERE n.nspname = 'auth'
    UNION ALL
    SELECT tablename, indexname, indexdef, '', '', 'index' FROM pg_indexes WHERE schemaname = 'auth'
    ORDER BY 6, 1, 2
"""


def test_the_models_are_what_the_migrations_make(auth_database: str, auth_db: psycopg.Connection[Any]) -> None:
    """As a developer asks, in the folder of the service."""
    environment = os.environ | {"DATABASE_URL": auth_database}
    asked = [sys.executable, "-m", "alembic", "check"]
    done = subprocess.run(asked, cwd=SERVICE, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No new upgrade operations detected" in done.stdout


def test_down_and_up_again_gives_the_same(
    auth_database: str, auth_db: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", auth_database)
    before = auth_db.execute(STRUCTURE).fetchall()
    assert len(before) > 20
    command.downgrade(migrations.config("auth"), "base")
    left = auth_db.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'auth'").fetchall()
    assert left == [("alembic_version",)]
    migrations.upgrade("auth")
    assert auth_db.execute(STRUCTURE).fetchall() == before
