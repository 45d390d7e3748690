"""PostgreSQL: the embedded one or one that the user brings, each with a role and a schema for every service."""

import hashlib
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit, urlunsplit

import psutil

from stack import ROOT, credentials
from stack.errors import StackError
from stack.ports import HOST, Ports
from stack.run_dir import RunDir, write_private
from stack.servers.postgres_install import PostgresInstall, clean_environment
from stack.servers.standalone import Standalone
from stack.services import SERVICES
from stack.specs import ProcessSpec, Stage

__all__ = ["BOOTSTRAP_SQL", "DATABASE", "ExternalPostgres", "PostgresServer"]

BOOTSTRAP_SQL = ROOT / "helm/products-api/files/bootstrap.sql"
DATABASE = "products"
# Sized for a laptop; the options that protect data (fsync, full_page_writes, synchronous_commit) keep their defaults.
OPTIONS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "io_method": "sync",
    "max_worker_processes": "4",
    "autovacuum_max_workers": "2",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


class PostgresServer:
    """A server whose data is in `run_dir`, on 127.0.0.1. As a context manager it runs until the end of the block.

    `url()` is the superuser's, `url("auth")` that of the role auth_svc; `options` override server settings.
    """

    def __init__(
        self, run_dir: RunDir | Path | str, port: int | None = None, options: Mapping[str, str] | None = None
    ) -> None:
        self.run_dir = run_dir if isinstance(run_dir, RunDir) else RunDir(run_dir)
        self.run_dir.create()
        self.port = port or Ports().pick()
        self.credentials = credentials.load(self.run_dir)
        self._options = OPTIONS | dict(options or {})
        self._install = PostgresInstall.find(self.run_dir)
        self.home, self.data = self._install.home, self._install.data
        self._server: Standalone | None = None

    def url(self, service: str | None = None, database: str = DATABASE) -> str:
        role = f"{service}_svc" if service else "postgres"
        password = self.credentials.roles[service] if service else self.credentials.postgres
        return f"postgresql://{role}:{password}@{HOST}:{self.port}/{database}"

    def prepare(self) -> None:
        """Create the data folder at the first start; refuse one that this version cannot read."""
        self._install.prepare(self.credentials.postgres)

    def spec(self) -> ProcessSpec:
        options = [f"--{name}={value}" for name, value in (self._options | {"port": str(self.port)}).items()]
        return ProcessSpec(
            name="postgres",
            argv=[str(self._install.programs / "postgres"), "-D", str(self.data), *options],
            env=clean_environment(),
            stage=Stage.POSTGRES,
            account=self._install.account,
            stop_signal=signal.SIGINT,  # a fast shutdown; SIGTERM would wait for every client
            death_signal=signal.SIGINT,
            before_start=self._stop_orphan,
        )

    def is_ready(self) -> bool:
        """As pg_ctl asks: the server writes its state into the eighth line of its pid file."""
        lines = self._pid_file()
        return len(lines) >= 8 and lines[7].strip() == "ready" and lines[3].strip() == str(self.port)

    def bootstrap(self) -> None:
        """Create the database, its roles and schemas, unless this was done with the same script and passwords."""
        record, digest = self.home / "bootstrap.sha256", self._bootstrap_digest()
        if record.exists() and record.read_text("ascii") == digest:
            return
        import psycopg  # only at the first start: it is the launcher's slowest import

        with psycopg.connect(self.url(database="postgres"), autocommit=True) as connection:
            if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchall():
                connection.execute(f'CREATE DATABASE "{DATABASE}"')
        with psycopg.connect(self.url(), autocommit=True) as connection:
            _bootstrap(connection, self.credentials)
        write_private(record, digest)

    def __enter__(self) -> Self:
        self.prepare()
        self._server = Standalone(self.spec(), self.run_dir)
        self._server.wait(self.is_ready)
        self.bootstrap()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._server is not None:
            self._server.stop()

    def _stop_orphan(self) -> None:
        """Stop a server that outlived its launcher, and delete the pid file of one that crashed.

        A new server refuses to start while the pid in that file belongs to a process, even to an unrelated one.
        """
        lines = self._pid_file()
        if not lines:
            return
        with suppress(psutil.NoSuchProcess, ValueError):
            process = psutil.Process(int(lines[0]))
            if str(self.data) in process.cmdline():
                process.send_signal(signal.SIGINT)
                with suppress(psutil.TimeoutExpired):
                    process.wait(5)
                process.kill()
                process.wait(5)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text("utf-8").splitlines()
        except OSError:
            return []

    def _bootstrap_digest(self) -> str:
        passwords = (self.credentials.roles[service] for service in SERVICES)
        return hashlib.sha256("\0".join((BOOTSTRAP_SQL.read_text("utf-8"), *passwords)).encode()).hexdigest()


class ExternalPostgres:
    """A server of POSTGRES_URL. `url()` is that URL, `url("auth")` the same with the role auth_svc."""

    def __init__(self, run_dir: RunDir, owner_url: str) -> None:
        run_dir.create()
        self.credentials = credentials.load(run_dir)
        self._owner_url = owner_url.replace("postgresql+psycopg://", "postgresql://", 1)
        # One folder for each server, so that records of one are not taken for another's.
        self.home = run_dir.path / f"external-{hashlib.sha256(self.address.encode()).hexdigest()[:12]}"
        self.home.mkdir(mode=0o700, exist_ok=True)

    @property
    def address(self) -> str:
        """host:port/database, without user and password."""
        parts = urlsplit(self._owner_url)
        return f"{parts.hostname}:{parts.port or 5432}{parts.path}"

    def url(self, service: str | None = None) -> str:
        if service is None:
            return self._owner_url
        parts = urlsplit(self._owner_url)
        login = f"{service}_svc:{quote(self.credentials.roles[service], safe='')}"
        return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))

    def bootstrap(self) -> None:
        """Create the roles and schemas, and give the roles the passwords of this run directory."""
        import psycopg

        try:
            with psycopg.connect(self._owner_url, autocommit=True, connect_timeout=5) as connection:
                _bootstrap(connection, self.credentials)
        except psycopg.Error as error:
            reason = str(error).strip().splitlines()[0]
            raise StackError(f"POSTGRES_URL ({self.address}): {reason}") from None


def _bootstrap(connection: Any, secrets: credentials.Credentials) -> None:
    """Run bootstrap.sql with the passwords of `secrets`; running it again changes nothing."""
    for service, password in secrets.roles.items():
        connection.execute("SELECT set_config(%s, %s, false)", [f"bootstrap.{service}_password", password])
    connection.execute(BOOTSTRAP_SQL.read_bytes())
