"""A wrong password, database or address: every process stays up, and /health and one log line say what to do."""

from urllib.parse import urlsplit

import httpx
import pytest

from catalog.settings import CatalogSettings
from tests.fixtures import checked
from tests.fixtures.catalog import Auth
from tests.fixtures.databases import role_url
from tests.fixtures.processes import SECRET, Process, Start, environment_of, until_healthy
from tests.fixtures.waiting import until

WRONG = "Wr0ng-canary"
PASSWORD = "PostgreSQL refuses the password in DATABASE_URL: correct it"
DATABASE = "PostgreSQL has no such role or database: make the roles and schemas with "
AWAY = "no connection to PostgreSQL: check DATABASE_URL and the network"
REDIS = "Redis refuses the password in REDIS_URL: correct it"


def health(process: Process) -> httpx.Response | None:
    try:
        return httpx.get(f"{process.health_url}/health")  # unchecked: workers too
    except httpx.TransportError:
        return None


def reported(process: Process) -> list[str]:
    # The services have checks of their own besides.
    messages = [line["message"] for line in process.lines() if line["logger"] == "common.diagnostics"]
    return [message for message in messages if message.startswith(("postgres: ", "redis: "))]


def wrong(url: str, kind: str) -> str:
    parts = urlsplit(url)
    login = f"{parts.username}:{WRONG if kind == 'password' else parts.password}"
    place = f"{parts.hostname}:{1 if kind == 'address' else parts.port}"
    return f"{parts.scheme}://{login}@{place}/{'nowhere' if kind == 'database' else parts.path[1:]}"


@pytest.mark.parametrize(
    ("service", "command", "kind", "expected"),
    [
        ("auth", "serve", "password", PASSWORD), ("catalog", "serve", "password", PASSWORD),
        ("sync", "serve", "password", PASSWORD), ("sync", "work", "password", PASSWORD),
        ("sync", "schedule", "password", PASSWORD), ("catalog", "serve", "database", DATABASE),
        ("sync", "work", "database", DATABASE), ("catalog", "serve", "address", AWAY),
        ("sync", "work", "address", AWAY),
    ],
)  # fmt: skip
def test_a_process_says_what_to_do(
    postgres: str, valkey_url: str, start: Start, service: str, command: str, kind: str, expected: str
) -> None:
    url = wrong(role_url(postgres, service), kind)
    redis_url = f"redis://:{WRONG}@{urlsplit(valkey_url).netloc.rpartition('@')[2]}"
    secrets = {"SECRET_KEY": SECRET, "SYNC_CLIENT_SECRET": SECRET}
    process = start(service, command, secrets | {"DATABASE_URL": url, "REDIS_URL": redis_url})
    answer = until(lambda: health(process))
    assert process.live()
    again = until(lambda: health(process))
    assert not process.ended()
    assert answer
    assert again
    assert (answer.status_code, again.status_code) == (503, 503)
    checks = answer.json()["checks"]
    assert checks["postgres"]["detail"].startswith(expected)
    assert expected in answer.json()["detail"]
    assert checks["redis"]["detail"] == REDIS
    # Once each, however often it is asked; masked like all logs, so the words must not look like a password.
    assert [line.partition(" with ")[0] for line in reported(process)] == [
        f"postgres: {expected.partition(' with ')[0]}", f"redis: {REDIS}"
    ]  # fmt: skip
    assert WRONG not in answer.text + process.output()


def test_a_new_process_waits_for_its_first_keys_but_not_for_ever(
    catalog_settings: CatalogSettings, auth_process: Auth, start: Start
) -> None:
    """A replica that is new must not refuse tokens that an older one takes; public reads need no keys at all."""
    settings = environment_of(catalog_settings)
    without = start("catalog", "serve", settings | {"AUTH_URL": "http://127.0.0.1:1"})
    answer = until(lambda: health(without))
    assert answer
    assert answer.json()["detail"] == "keys: the keys that verify tokens are not fetched yet"
    until(without.healthy)
    # Ready means that it has the keys: a token is judged, and not asked to come again.
    ready = until_healthy(start("catalog", "serve", settings))
    assert checked.delete(f"{ready.url}/products/999999", headers=auth_process.admin).status_code == 404
