"""What `make bench` measures: our processes and those that they are compared with, on one PostgreSQL.

Each starts when it is first asked for, and all end together. They write their logs, which cost time too, to /dev/null.
"""

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import psutil

from stack.ports import Ports
from stack.run_dir import RunDir
from stack.servers import gateway
from stack.servers.postgres import PostgresServer
from stack.servers.standalone import Standalone
from stack.servers.valkey import ValkeyServer
from tests.fixtures.databases import migrate
from tests.fixtures.processes import SECRET, Process, run_process, until_healthy
from tests.fixtures.stack import folder
from tests.fixtures.waiting import until
from tests.load import fastify_server
from tests.load.rows import ADMIN, SPARE
from tests.load.seed import seed, seed_reference

__all__ = ["UVICORN", "Server", "Servers", "answers"]

# Half of the 15 minutes that a token is valid.
RENEW_SECONDS = 450.0
UVICORN = {
    "UVICORN_LOOP": "uvloop", "UVICORN_HTTP": "httptools", "UVICORN_ACCESS_LOG": "false",
    "UVICORN_LOG_LEVEL": "warning",
}  # fmt: skip
NOWHERE = Path("/dev/null")


@dataclass(frozen=True)
class Server:
    """What listens on a port, and the processes whose CPU time its answers cost."""

    port: int
    pids: tuple[int, ...]

    def cpu_seconds(self) -> float:
        """So far, of all its processes."""
        roots = [psutil.Process(pid) for pid in self.pids]
        times = [it.cpu_times() for root in roots for it in (root, *root.children(recursive=True))]
        return sum(it.user + it.system for it in times)


class Servers:
    """PostgreSQL with `products` and the spare ones, Valkey, auth, and all others on demand."""

    def __init__(self, products: int, *, baseline: Path | None, no_fastify: str) -> None:
        self._products, self._baseline_folder = products, baseline
        # Those that are not there, and why; nothing is said of a baseline that nobody asked for.
        self.skipped = {"fastify": no_fastify} if no_fastify else {}
        if baseline is None:
            self.skipped["baseline"] = ""
        self._started: dict[str, Server] = {}
        self._issued = float("-inf"), ""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._folder = stack.enter_context(folder())
            options = {"max_connections": "200"}
            self.postgres = stack.enter_context(PostgresServer(self._folder / "postgres", options=options))
            self._valkey = stack.enter_context(ValkeyServer(self._folder / "valkey"))
            for service in ("auth", "catalog"):
                migrate(service, self.postgres.url(service))
            seed(self.postgres.url(), self._products + SPARE)
            seed_reference(self.postgres.url())
            self._stack = stack.pop_all()
        try:
            self._auth_url = f"http://127.0.0.1:{self.get('auth').port}"
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    def get(self, name: str) -> Server:
        """A running server, started if it is the first time."""
        if name not in self._started:
            self._started[name] = getattr(self, f"_start_{name}")()
        return self._started[name]

    def token(self) -> str:
        """An admin's, valid for some minutes more."""
        issued, token = self._issued
        if time.monotonic() > issued + RENEW_SECONDS:
            answer = httpx.post(f"{self._auth_url}/auth/login", json=ADMIN).raise_for_status()
            token = str(answer.json()["access_token"])
            self._issued = time.monotonic(), token
        return token

    def cpu_of_start(self, name: str, *, baseline: bool) -> float:
        """CPU seconds of a process from exec to ready."""
        service, command = {"catalog": ("catalog", "serve"), "worker": ("sync", "work")}[name]
        migrate(service, self.postgres.url(service))
        with ExitStack() as stack:
            process = until_healthy(self._process(stack, service, command, baseline=baseline))
            return Server(0, (process.process.pid,)).cpu_seconds()

    def _process(self, stack: ExitStack, service: str, command: str, *, baseline: bool = False) -> Process:
        settings = {
            "DATABASE_URL": self.postgres.url(service), "REDIS_URL": self._valkey.url(), "SYNC_CLIENT_SECRET": SECRET,
            "LOG_LEVEL": "info", "LOG_FORMAT": "json",
        }  # fmt: skip
        if service == "auth":
            settings |= {"SECRET_KEY": SECRET, "LOGINS_PER_MINUTE": "1000000"}
        else:
            settings["AUTH_URL"] = self._auth_url
        python = sys.executable
        if baseline:
            assert self._baseline_folder
            # The packages of that checkout, not of this one.
            python, settings["PYTHONPATH"] = str(self._baseline_folder / ".venv/bin/python"), ""
        return stack.enter_context(run_process(service, command, settings, log=NOWHERE, python=python))

    def _start_auth(self) -> Server:
        process = until_healthy(self._process(self._stack, "auth", "serve"))
        httpx.post(f"{process.url}/auth/register", json=ADMIN | {"role": "admin"}).raise_for_status()
        return _server(process)

    def _start_catalog(self) -> Server:
        return _server(until_healthy(self._process(self._stack, "catalog", "serve")))

    def _start_baseline(self) -> Server:
        return _server(until_healthy(self._process(self._stack, "catalog", "serve", baseline=True)))

    def _start_gateway(self) -> Server:
        run_dir = RunDir(self._folder / "gateway")
        run_dir.create()
        ports = Ports()
        catalog, port = self.get("catalog"), ports.pick()
        upstreams = {"auth": [self.get("auth").port], "catalog": [catalog.port], "sync": [catalog.port]}
        server = Standalone(gateway.spec(port, ports.pick(), upstreams, pretty=False, environment={}), run_dir)
        self._stack.callback(server.stop)
        server.wait(lambda: answers(port))
        return Server(port, (server.process.pid, *catalog.pids))

    def _start_reference(self) -> Server:
        url = self.postgres.url("catalog").replace("postgresql://", "postgresql+asyncpg://", 1)
        return self._uvicorn("tests.load.reference:app", {"DATABASE_URL": url})

    def _start_bare(self) -> Server:
        """With the bytes that the catalog answers."""
        settings, catalog = {}, f"http://127.0.0.1:{self.get('catalog').port}"
        for name, path in (("BARE_PRODUCT", "/products/1"), ("BARE_PAGE", "/products?limit=100")):
            file = self._folder / name.lower()
            file.write_bytes(httpx.get(catalog + path).raise_for_status().content)
            settings[name] = str(file)
        return self._uvicorn("tests.load.bare:app", settings)

    def _uvicorn(self, application: str, settings: Mapping[str, str]) -> Server:
        port = Ports().pick()
        values = UVICORN | {"UVICORN_PORT": str(port)} | dict(settings)
        started = self._stack.enter_context(run_process("uvicorn", application, values))
        until(lambda: answers(port) or started.ended())
        assert not started.ended(), f"{application} ended"
        return Server(port, (started.process.pid,))

    def _start_fastify(self) -> Server:
        port = Ports().pick()
        process = self._stack.enter_context(fastify_server.running(port, self.postgres.url("catalog")))
        until(lambda: answers(port) or process.poll() is not None)
        assert process.poll() is None, "Fastify ended"
        return Server(port, (process.pid,))


def _server(process: Process) -> Server:
    return Server(int(process.url.rpartition(":")[2]), (process.process.pid,))


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/products/1").status_code == 200
    except httpx.TransportError:
        return False
