"""Which services need their migrations run: a process that finds nothing to do costs two seconds each."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stack import ROOT
from stack.run_dir import read_json, write_json
from stack.services import SERVICES

__all__ = ["MigrationState"]


class MigrationState:
    """Stores in `file` which migration files were applied and at which revision the database was then."""

    def __init__(self, file: Path, database_url: str) -> None:
        self._file = file
        self._database_url = database_url

    def outdated(self) -> list[str]:
        """The services whose migration files or database are not as at the last `save`."""
        known: dict[str, Any] = read_json(self._file) or {}
        candidates = [service for service in SERVICES if known.get(service, {}).get("files") == _digest(service)]
        revisions = self._revisions(candidates)
        return [it for it in SERVICES if it not in candidates or revisions[it] != known[it]["revision"]]

    def save(self) -> None:
        """Call it when all migrations are applied."""
        revisions = self._revisions(SERVICES)
        write_json(self._file, {it: {"files": _digest(it), "revision": revisions[it]} for it in SERVICES})

    def _revisions(self, services: Sequence[str]) -> dict[str, list[str] | None]:
        if not services:
            return {}
        import psycopg  # the launcher's slowest import

        with psycopg.connect(self._database_url, autocommit=True) as connection:
            return {it: _revision(connection, it) for it in services}


def _revision(connection: Any, service: str) -> list[str] | None:
    """The rows of Alembic's table, or None where it does not exist."""
    table = f"{service}.alembic_version"
    if connection.execute("SELECT to_regclass(%s)", [table]).fetchone() == (None,):
        return None
    return sorted(row[0] for row in connection.execute(f"SELECT version_num FROM {table}"))  # noqa: S608


def _digest(service: str) -> str:
    """A digest of the migrations of a service."""
    digest = hashlib.sha256()
    for file in sorted((ROOT / "services" / service).glob("src/*/migrations/versions/*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
