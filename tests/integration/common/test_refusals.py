"""A wrong password, database or address: every process stays up, and /health and one log line say what to do."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from catalog.settings import CatalogSettings
from stack.ports import Ports
from tests.fixtures.catalog import SECRET, Auth, dsn, role_url
from tests.fixtures.stack import until

WRONG = "Wr0ng-canary"
PASSWORD = "PostgreSQL refuses the password in DATABASE_URL: correct it"
DATABASE = "PostgreSQL has no such role or database: make the roles and schemas with "
AWAY = "no connection to PostgreSQL: check DATABASE_URL and the network"
REDIS = "Redis refuses the password in REDIS_URL: correct it"


@contextmanager
def running(service: str, command: str, log: Path, **environment: str) -> Iterator[str]:
    """The URL of a process's /health."""
    ports = Ports()
    port, metrics = ports.pick(), ports.pick()
    given = {"PORT": str(port), "METRICS_PORT": str(metrics), "SECRET_KEY": SECRET, "SYNC_CLIENT_SECRET": SECRET}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", service, command],
            env={"PATH": os.environ["PATH"]} | given | environment,
            stdout=output,
            stderr=output,
        )
    try:
        yield f"http://127.0.0.1:{port if command == 'serve' else metrics}/health"
        assert process.poll() is None, log.read_text()
    finally:
        process.kill()
        process.wait()


def health(url: str) -> httpx.Response | None:
    try:
        return httpx.get(url)
    except httpx.TransportError:
        return None


def told(log: Path) -> list[str]:
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.read_text().splitlines()]
    # The services have checks of their own besides.
    said = [line["message"] for line in lines if line["logger"] == "common.diagnostics"]
    return [message for message in said if message.startswith(("postgres: ", "redis: "))]


def wrong(url: str, kind: str) -> str:
    parts = urlsplit(url)
    login = f"{parts.username}:{WRONG if kind == 'password' else parts.password}"
    place = f"{parts.hostname}:{1 if kind == 'address' else parts.port}"
    return f"{parts.scheme}://{login}@{place}/{'nowhere' if kind == 'database' else parts.path[1:]}"


@pytest.mark.parametrize(
    ("service", "command", "kind", "said"),
    [
        ("auth", "serve", "password", PASSWORD), ("catalog", "serve", "password", PASSWORD),
        ("sync", "serve", "password", PASSWORD), ("sync", "work", "password", PASSWORD),
        ("sync", "schedule", "password", PASSWORD), ("catalog", "serve", "database", DATABASE),
        ("sync", "work", "database", DATABASE), ("catalog", "serve", "address", AWAY),
        ("sync", "work", "address", AWAY),
    ],
)  # fmt: skip
def test_a_process_says_what_to_do(
    postgres: str, valkey_url: str, tmp_path: Path, service: str, command: str, kind: str, said: str
) -> None:
    log, url = tmp_path / "log", wrong(role_url(postgres, service), kind)
    redis_url = f"redis://:{WRONG}@{urlsplit(valkey_url).netloc.rpartition('@')[2]}"
    with running(service, command, log, DATABASE_URL=url, REDIS_URL=redis_url) as address:
        answer = until(lambda: health(address))
        assert httpx.get(address.replace("/health", "/livez")).status_code == 200
        again = until(lambda: health(address))
    assert (answer.status_code, again.status_code) == (503, 503)
    checks = answer.json()["checks"]
    assert checks["postgres"]["detail"].startswith(said) and said in answer.json()["detail"]
    assert checks["redis"]["detail"] == REDIS
    # Once each, however often it is asked; masked like all logs, so the words must not look like a password.
    assert [line.partition(" with ")[0] for line in told(log)] == [
        f"postgres: {said.partition(' with ')[0]}", f"redis: {REDIS}"
    ]  # fmt: skip
    assert WRONG not in answer.text + log.read_text()


def test_a_new_process_waits_for_its_first_keys_but_not_for_ever(
    catalog_settings: CatalogSettings, auth_process: Auth, tmp_path: Path
) -> None:
    """A replica that is new must not refuse tokens that an older one takes; public reads need no keys at all."""
    given = {"DATABASE_URL": dsn(catalog_settings), "REDIS_URL": catalog_settings.redis_url.get_secret_value()}
    with running("catalog", "serve", tmp_path / "log", AUTH_URL="http://127.0.0.1:1", **given) as address:
        answer = until(lambda: health(address))
        assert answer.json()["detail"] == "keys: the keys that verify tokens are not fetched yet"
        until(lambda: httpx.get(address).status_code == 200)
    with running("catalog", "serve", tmp_path / "log", AUTH_URL=catalog_settings.auth_url, **given) as address:
        until(lambda: health(address))
        until(lambda: httpx.get(address).status_code == 200)
        # Ready means that it has the keys: a token is judged, and not told to come again.
        url = address.removesuffix("/health")
        assert httpx.delete(f"{url}/products/999999", headers=auth_process.admin).status_code == 404
