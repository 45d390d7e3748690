"""Which schemas need their migrations run: starting a process that finds nothing to do costs two seconds each."""

import hashlib
from pathlib import Path
from typing import Any

from stack.external import ExternalPostgres
from stack.files import read_json, write_json
from stack.paths import service_dir
from stack.postgres import Postgres

__all__ = ["SERVICES", "Schemas"]

SERVICES = ("auth", "catalog", "sync")


class Schemas:
    """Remembers after which migration files the database was at which revision, beside its data."""

    def __init__(self, postgres: Postgres | ExternalPostgres) -> None:
        self._postgres = postgres
        self._seal = postgres.home / "schemas.json"

    def outdated(self) -> list[str]:
        """The services whose files or whose database are not as they were left by the last migration."""
        known: dict[str, Any] = read_json(self._seal) or {}
        candidates = [service for service in SERVICES if known.get(service, {}).get("files") == _files(service)]
        revisions = self._revisions(candidates)
        return [it for it in SERVICES if it not in candidates or revisions[it] != known[it]["revision"]]

    def remember(self) -> None:
        """All migrations were run."""
        revisions = self._revisions(SERVICES)
        entries = {it: {"files": _files(it), "revision": revisions[it]} for it in SERVICES}
        write_json(self._seal, entries)

    def _revisions(self, services: tuple[str, ...] | list[str]) -> dict[str, list[str] | None]:
        if not services:
            return {}
        import psycopg  # the launcher's heaviest import

        with psycopg.connect(self._postgres.url(), autocommit=True) as connection:
            return {it: _revision(connection, it) for it in services}


def _revision(connection: Any, service: str) -> list[str] | None:
    """The rows of Alembic's table, or None where it does not exist."""
    table = f"{service}.alembic_version"
    if connection.execute("SELECT to_regclass(%s)", [table]).fetchone() == (None,):
        return None
    return sorted(row[0] for row in connection.execute(f"SELECT version_num FROM {table}"))  # noqa: S608


def _files(service: str) -> str:
    """A digest of the migrations of a service."""
    digest = hashlib.sha256()
    for file in sorted(Path(service_dir(service)).glob("src/*/migrations/versions/*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
