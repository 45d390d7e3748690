"""Databases, migrations and services started in any order: who comes early waits, and all get ready by themselves."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import permutations
from pathlib import Path

import pytest

from stack.ports import Ports
from stack.servers.postgres import PostgresServer
from stack.servers.valkey import ValkeyServer
from tests.fixtures.processes import SECRET, Process, run_process
from tests.fixtures.stack import folder
from tests.fixtures.waiting import until

SERVICES = {
    "auth": ("auth", "serve"), "catalog": ("catalog", "serve"), "sync-api": ("sync", "serve"),
    "sync-worker": ("sync", "work"), "sync-scheduler": ("sync", "schedule"),
}  # fmt: skip
ORDERS = list(permutations(("postgres", "redis", "migrations", "services")))
# The other way round; the rest is for the long form.
WORST = ("services", "migrations", "redis", "postgres")
# 5 s is the promise; a busy machine may schedule us late.
READY_WITHIN = 20.0


class Scene:
    """Everything that a stack consists of but the gateway, each part started by its name."""

    def __init__(self, run_dir: Path, stack: ExitStack) -> None:
        ports = Ports()
        self._stack = stack
        self._folder = run_dir
        self._postgres = PostgresServer(run_dir, ports.pick(), {"fsync": "off"})
        # Once before, so that its roles are there: migrations that meet a server without them end at once.
        with self._postgres:
            pass
        self._valkey = ValkeyServer(run_dir / "valkey", ports.pick())
        self._ports = {name: (ports.pick(), ports.pick()) for name in SERVICES}
        self.processes: dict[str, Process] = {}

    def start(self, part: str) -> None:
        """Start a part, and wait until it does what it can do alone."""
        if part in ("postgres", "redis"):
            self._stack.enter_context(self._postgres if part == "postgres" else self._valkey)
        elif part == "migrations":
            for service in ("auth", "catalog", "sync"):
                self._launch(f"{service}-migrate", service, "migrate")
        else:
            for name, command in SERVICES.items():
                self._launch(name, *command)
            until(lambda: all(self.processes[name].live() for name in SERVICES))

    def ready(self) -> bool:
        return all(self.processes[name].healthy() for name in SERVICES)

    def _launch(self, name: str, module: str, command: str) -> None:
        port, metrics = self._ports.get(name, (0, 0))
        auth, catalog = (f"http://127.0.0.1:{self._ports[service][0]}" for service in ("auth", "catalog"))
        settings = {
            "DATABASE_URL": self._postgres.url(module), "REDIS_URL": self._valkey.url(), "SECRET_KEY": SECRET,
            "SYNC_CLIENT_SECRET": SECRET, "PORT": str(port), "METRICS_PORT": str(metrics), "AUTH_URL": auth,
            "CATALOG_URL": catalog, "LOG_FORMAT": "json",
        }  # fmt: skip
        log = self._folder / f"{name}.log"
        self.processes[name] = self._stack.enter_context(run_process(module, command, settings, log=log))


@pytest.fixture
def scene() -> Iterator[Scene]:
    with folder() as run_dir, ExitStack() as stack:
        yield Scene(run_dir, stack)


@pytest.mark.chaos
def test_databases_that_come_a_minute_late(scene: Scene) -> None:
    for part in ("services", "migrations"):
        scene.start(part)
    late = time.monotonic() + 60
    until(lambda: time.monotonic() > late, 90)
    assert not any(process.ended() for process in scene.processes.values())
    for part in ("redis", "postgres"):
        scene.start(part)
    began = time.monotonic()
    until(scene.ready, READY_WITHIN)
    print(f"ready {time.monotonic() - began:.1f} s after the last")


@pytest.mark.parametrize(
    "order", [pytest.param(it, marks=() if it == WORST else pytest.mark.chaos) for it in ORDERS], ids=" ".join
)
def test_any_order_gets_ready(scene: Scene, order: tuple[str, ...]) -> None:
    for part in order:
        assert not scene.processes or not scene.ready()
        scene.start(part)
    began = time.monotonic()
    migrations = [process for name, process in scene.processes.items() if name.endswith("-migrate")]
    until(lambda: all(process.ended() for process in migrations))
    until(scene.ready, READY_WITHIN)
    print(f"ready {time.monotonic() - began:.1f} s after the last")
    ended = {name: process.process.returncode for name, process in scene.processes.items() if process.ended()}
    assert ended == {"auth-migrate": 0, "catalog-migrate": 0, "sync-migrate": 0}
