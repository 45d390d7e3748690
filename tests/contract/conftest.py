"""A PostgreSQL of its own for tests that take schemas down, change roles, or do both."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common import migrations
from stack.servers.postgres import PostgresServer
from tests.fixtures.stack import folder

Run = Callable[..., subprocess.Popen[str]]
SECRET = "Kq7wXo2ZrM9tBvY4sHn6JdP1fGc8LeUa"


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
            "PATH": os.environ["PATH"], "DATABASE_URL": server.url(service), "REDIS_URL": "redis://127.0.0.1:1/0",
            "SECRET_KEY": SECRET, "SYNC_CLIENT_SECRET": SECRET,
        } | more  # fmt: skip
        arguments = [sys.executable, "-m", *command]
        return subprocess.Popen(
            arguments, env=settings, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    return start


@pytest.fixture(scope="session")
def migrated(server: PostgresServer) -> PostgresServer:
    """`server` with all schemas at head."""
    for service in ("auth", "catalog", "sync"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DATABASE_URL", server.url(service))
            migrations.upgrade(service)
    return server
