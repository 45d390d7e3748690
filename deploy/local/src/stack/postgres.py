"""PostgreSQL 18 from a wheel, on 127.0.0.1, with one database and one role per service."""

import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from stack import account, bindings, credentials, pgbinaries
from stack.errors import StackError
from stack.external import bootstrap
from stack.files import write_private
from stack.paths import BOOTSTRAP_SQL
from stack.ports import HOST, Ports
from stack.rundir import RunDir
from stack.spec import Spec, Stage
from stack.standalone import Standalone

__all__ = ["DATABASE", "Postgres"]

DATABASE = "products"
# Sized for a laptop; what protects data (fsync, full_page_writes, synchronous_commit) stays as it ships.
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


class Postgres:
    """A server whose data lives in `run_dir`. As a context manager it runs until the end of the block.

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
        self._account = account.for_postgres()
        self._bin = pgbinaries.bin_dir(self._account)
        self.home = self._find_home()
        self.data = self.home / "data"
        self._server: Standalone | None = None

    def url(self, service: str | None = None, database: str = DATABASE) -> str:
        role = f"{service}_svc" if service else "postgres"
        password = getattr(self.credentials, service or "postgres")
        return f"postgresql://{role}:{password}@{HOST}:{self.port}/{database}"

    def prepare(self) -> None:
        """Make the data folder at the first start; refuse one that this version cannot read."""
        if self.data.exists():
            self._check_version()
        else:
            self._initdb()

    def spec(self) -> Spec:
        options = [f"--{name}={value}" for name, value in (self._options | {"port": str(self.port)}).items()]
        return Spec(
            name="postgres",
            argv=[str(self._bin / "postgres"), "-D", str(self.data), *options],
            env=_environment(),
            stage=Stage.POSTGRES,
            account=self._account,
            stop_signal=signal.SIGINT,  # a fast shutdown; SIGTERM would wait for every client
            death_signal=signal.SIGINT,
            before_start=self._stop_leftover,
        )

    def is_ready(self) -> bool:
        """What pg_ctl looks at: the server writes its state into the eighth line of its pid file."""
        lines = self._pid_file()
        return len(lines) >= 8 and lines[7].strip() == "ready" and lines[3].strip() == str(self.port)

    def bootstrap(self) -> None:
        """Create the database, its roles and schemas, unless exactly this was done before."""
        seal = self.home / "bootstrap.sha256"
        mark = self._bootstrap_mark()
        if seal.exists() and seal.read_text("ascii") == mark:
            return
        self._run_bootstrap()
        write_private(seal, mark)

    def __enter__(self) -> Self:
        self.prepare()
        self._server = Standalone(self.spec(), self.run_dir)
        self._server.wait(self.is_ready)
        self.bootstrap()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._server is not None:
            self._server.stop()

    def _find_home(self) -> Path:
        """A folder that its user can reach: in the run directory, or else a private one bound to it."""
        bound = bindings.bound_home(self.run_dir)
        if bound is not None:
            return bound
        home = self.run_dir.path / "postgres"
        if self._account is None or self._account.can_reach(self.run_dir.path):
            home.mkdir(mode=0o700, exist_ok=True)
        else:
            home = bindings.bind_home(self.run_dir)
        if self._account is not None:
            self._account.own(home)
        return home

    def _initdb(self) -> None:
        fresh, secret = self.home / "data.new", self.home / "password"
        shutil.rmtree(fresh, ignore_errors=True)
        write_private(secret, self.credentials.postgres)
        if self._account is not None:
            self._account.own(secret)
        argv = [str(self._bin / "initdb"), f"--pgdata={fresh}", "--username=postgres", f"--pwfile={secret}"]
        argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
        user = self._account.uid if self._account else None
        group = self._account.gid if self._account else None
        done = subprocess.run(
            argv, env=_environment(), user=user, group=group, extra_groups=[] if self._account else None,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        secret.unlink()
        if done.returncode:
            raise StackError(f"PostgreSQL could not make its data folder:\n{done.stdout.strip()}")
        fresh.rename(self.data)

    def _check_version(self) -> None:
        made_by = (self.data / "PG_VERSION").read_text("ascii").strip()
        catalog = next((self._bin.parent / "share").glob("**/postgres.bki"))
        with catalog.open(encoding="utf-8") as file:
            runs = file.readline().split()[-1]
        if made_by != runs:
            raise StackError(
                f"the data in {self.data} is of PostgreSQL {made_by}, this is {runs}; delete it with: make reset"
            )

    def _stop_leftover(self) -> None:
        """A server that outlived its launcher is stopped; the pid file of a dead one is deleted, since its
        number may meanwhile belong to another process, before which PostgreSQL would stand back."""
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

    def _bootstrap_mark(self) -> str:
        secret = self.credentials
        parts = (BOOTSTRAP_SQL.read_text("utf-8"), secret.auth, secret.catalog, secret.sync)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _run_bootstrap(self) -> None:
        import psycopg  # at the first start only: it is the launcher's heaviest import

        with psycopg.connect(self.url(database="postgres"), autocommit=True) as connection:
            if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchall():
                connection.execute(f'CREATE DATABASE "{DATABASE}"')
        with psycopg.connect(self.url(), autocommit=True) as connection:
            bootstrap(connection, self.credentials)


def _environment() -> dict[str, str]:
    """Without PG* variables, which would override what is asked for here."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
