"""A PostgreSQL of one's own: it runs already, and roles and schemas are made there."""

import hashlib
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from stack import credentials
from stack.errors import StackError
from stack.paths import BOOTSTRAP_SQL
from stack.rundir import RunDir

__all__ = ["ExternalPostgres", "bootstrap"]

ROLES = ("auth", "catalog", "sync")


class ExternalPostgres:
    """`url()` is the one that was given, `url("auth")` that of the role auth_svc."""

    def __init__(self, run_dir: RunDir, owner_url: str) -> None:
        run_dir.create()
        self.credentials = credentials.load(run_dir)
        self._owner_url = owner_url.replace("postgresql+psycopg://", "postgresql://", 1)
        # What is remembered of one server must not be taken for another's.
        self.home = run_dir.path / f"external-{hashlib.sha256(self.place.encode()).hexdigest()[:12]}"
        self.home.mkdir(mode=0o700, exist_ok=True)

    @property
    def place(self) -> str:
        """Where it is, without user and password."""
        parts = urlsplit(self._owner_url)
        return f"{parts.hostname}:{parts.port or 5432}{parts.path}"

    def url(self, service: str | None = None) -> str:
        if service is None:
            return self._owner_url
        parts = urlsplit(self._owner_url)
        login = f"{service}_svc:{quote(getattr(self.credentials, service), safe='')}"
        return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))

    def bootstrap(self) -> None:
        """Make the roles and schemas, and give the roles the passwords of this run directory."""
        import psycopg

        try:
            with psycopg.connect(self._owner_url, autocommit=True, connect_timeout=5) as connection:
                bootstrap(connection, self.credentials)
        except psycopg.Error as error:
            said = str(error).strip().splitlines()[0]
            raise StackError(f"POSTGRES_URL ({self.place}): {said}") from None


def bootstrap(connection: Any, secrets: credentials.Credentials) -> None:
    """Run bootstrap.sql with the passwords of `secrets`; it may be run again."""
    for role in ROLES:
        name, password = f"bootstrap.{role}_password", getattr(secrets, role)
        connection.execute("SELECT set_config(%s, %s, false)", [name, password])
    connection.execute(BOOTSTRAP_SQL.read_bytes())
