"""The start of a process is cheap: it loads what it uses, and leaves nothing of that to the first request.

What it costs in CPU seconds is measured by tests/load/startup.py.
"""

from collections.abc import Iterator, Mapping
from http import HTTPStatus

import pytest

from stack.servers.postgres import PostgresServer
from tests.fixtures import checked
from tests.fixtures.catalog import Auth, account
from tests.fixtures.databases import Database, migrate
from tests.fixtures.processes import SECRET, Process, Start, until_healthy
from tests.fixtures.stack import folder

COMMANDS = {
    "auth": ("auth", "serve"), "catalog": ("catalog", "serve"), "sync-api": ("sync", "serve"),
    "sync-worker": ("sync", "work"), "sync-scheduler": ("sync", "schedule"),
}  # fmt: skip
APIS = ("auth", "catalog", "sync-api")
# For migrations, development, or what is off by default.
NEVER = {
    "alembic", "fastapi.testclient", "mako", "opentelemetry.sdk.metrics._internal", "opentelemetry.sdk.trace",
    "pydantic.v1.main", "pygments", "watchfiles",
}  # fmt: skip
WEB = {"common.web", "fastapi", "starlette", "uvicorn", "sqlalchemy", "httpx", "jose"}
NOT_IN = {
    "auth": {"httpx", "rq"},
    "catalog": {"rq", "sqlalchemy"},
    "sync-api": {"rq_scheduler", "sqlalchemy"},
    "sync-worker": WEB | {"rq_scheduler"},
    "sync-scheduler": WEB,
}
NEW = {"name": "Kettle", "description": "1.7 l", "price": 29.9, "category": "kitchen"}


def imported(process: Process) -> set[str]:
    """The modules that it has loaded so far."""
    lines = (line for line in process.output().splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.fixture(scope="module")
def auth_url() -> Iterator[str]:
    """A database of auth's own: what other tests leave in theirs belongs to other secrets."""
    with folder() as run_dir, PostgresServer(run_dir, options={"fsync": "off"}) as server:
        migrate("auth", server.url("auth"))
        yield server.url("auth")


@pytest.fixture
def settings(database: Database, valkey_url: str, auth_process: Auth, auth_url: str) -> Mapping[str, Mapping[str, str]]:
    """Of each process; it writes each import into its log."""
    common = {
        "REDIS_URL": valkey_url, "AUTH_URL": auth_process.url, "SECRET_KEY": SECRET, "SYNC_CLIENT_SECRET": SECRET,
        "PYTHONPROFILEIMPORTTIME": "1", "ADMIN_REGISTRATION": "open",
    }  # fmt: skip
    urls = {"auth": auth_url, "catalog": database("catalog"), "sync": database("sync")}
    return {name: common | {"DATABASE_URL": urls[service]} for name, (service, _) in COMMANDS.items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_process_loads_what_it_uses(name: str, start: Start, settings: Mapping[str, Mapping[str, str]]) -> None:
    loaded = imported(until_healthy(start(*COMMANDS[name], settings[name])))
    assert {"common.health", "psycopg"} <= loaded
    assert loaded & (NEVER | NOT_IN[name]) == set()


def requests(name: str, auth: Auth) -> Iterator[tuple[str, str, dict[str, object]]]:
    """One of each kind: method, path, and what is sent."""
    if name == "auth":
        yield "POST", "/auth/register", {"json": account("startup")}
        yield "POST", "/auth/login", {"json": account("startup")}
        yield "POST", "/auth/login", {"json": {"email": "not one"}}
        yield "GET", "/.well-known/jwks.json", {}
    elif name == "catalog":
        yield "GET", "/products/1", {}
        yield "GET", "/products?limit=3", {}
        yield "GET", "/products?limit=many", {}
        yield "POST", "/products", {"json": NEW, "headers": auth.admin}
        yield "POST", "/products", {"json": NEW}
    else:
        yield "GET", "/sync/status", {"headers": auth.admin}
        yield "GET", "/sync/runs/00000000-0000-0000-0000-000000000000", {"headers": auth.admin}
    yield "GET", "/nothing", {}


@pytest.mark.parametrize("name", APIS)
def test_the_first_requests_load_nothing(
    name: str, start: Start, settings: Mapping[str, Mapping[str, str]], auth_process: Auth
) -> None:
    process = until_healthy(start(*COMMANDS[name], settings[name]))
    before = imported(process)
    for method, path, options in requests(name, auth_process):
        with checked.Client(base_url=process.url, timeout=30) as client:
            assert client.request(method, path, **options).status_code < HTTPStatus.INTERNAL_SERVER_ERROR  # type: ignore[arg-type]
        assert imported(process) - before == set(), path
