"""A PostgreSQL of its own for tests that take schemas down, change roles, or do both."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stack.servers.postgres import PostgresServer
from stack.services import SERVICES
from tests.fixtures.databases import migrate
from tests.fixtures.processes import SECRET, inherited
from tests.fixtures.stack import folder

Run = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """A bootstrapped server without migrations; its `url("auth")` is that of the role auth_svc."""
    with folder() as run_dir, PostgresServer(run_dir, options={"fsync": "off"}) as running:
        yield running


@pytest.fixture(scope="session")
def begin(server: PostgresServer) -> Run:
    """Start `python -m <module> ...` with the settings of a service, on `server`; `more` settings win."""

    def start(service: str, *command: str, cwd: Path | None = None, **more: str) -> subprocess.Popen[str]:
        settings = {
            "DATABASE_URL": server.url(service), "REDIS_URL": "redis://127.0.0.1:1/0",
            "SECRET_KEY": SECRET, "SYNC_CLIENT_SECRET": SECRET,
        }  # fmt: skip
        arguments = [sys.executable, "-m", *command]
        return subprocess.Popen(
            arguments,
            env=inherited() | settings | more,
            cwd=cwd,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    return start


@pytest.fixture(scope="session")
def migrated(server: PostgresServer) -> PostgresServer:
    """`server` with all schemas at head."""
    for service in SERVICES:
        migrate(service, server.url(service))
    return server
