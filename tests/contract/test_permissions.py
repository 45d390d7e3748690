"""Who may call what: one table of every route that a service registers, tried with real tokens on real services."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest

from catalog import app as catalog
from catalog.settings import CatalogSettings
from stack.services import SERVICES
from sync import app as sync
from sync.settings import SyncSettings
from tests.fixtures import checked
from tests.fixtures.apps import built, registered
from tests.fixtures.catalog import Auth
from tests.fixtures.databases import Database
from tests.fixtures.pages import PAGES as DOCUMENTATION
from tests.fixtures.processes import SECRET
from tests.fixtures.service import serving
from tools import openapi

# Callers: without a token; with a user's; an admin's; that of a service, which has the scope catalog:import alone.
EVERYBODY = {"nobody", "user", "admin", "sync"}
ACCOUNTS = {"user", "admin"}
ADMINS = {"admin"}
IMPORTERS = {"sync"}
# A route that is not listed here fails, so nobody adds one without saying who may call it.
PERMISSIONS = {
    "auth": {
        "POST /auth/register": EVERYBODY,
        "POST /auth/login": EVERYBODY,
        "POST /auth/token": EVERYBODY,
        "POST /auth/refresh": EVERYBODY,
        "POST /auth/logout": EVERYBODY,
        "GET /auth/me": ACCOUNTS,
        "GET /.well-known/jwks.json": EVERYBODY,
        "GET /auth/health": EVERYBODY,
        "GET /health": EVERYBODY,
        "GET /livez": EVERYBODY,
    },
    "catalog": {
        "GET /products": EVERYBODY,
        "GET /products/{product_id}": EVERYBODY,
        "POST /products": ADMINS,
        "PUT /products/{product_id}": ADMINS,
        "DELETE /products/{product_id}": ADMINS,
        "DELETE /products/{product_id}/pins/{field}": ADMINS,
        "POST /products/{product_id}/restore": ADMINS,
        "PUT /internal/imports/{source}/runs/{run_id}": IMPORTERS,
        "POST /internal/imports/{source}/runs/{run_id}/pages": IMPORTERS,
        "DELETE /internal/imports/{source}/runs/{run_id}": IMPORTERS,
        "POST /internal/imports/{source}/runs/{run_id}/compare": IMPORTERS,
        "POST /internal/imports/{source}/runs/{run_id}/plan": IMPORTERS,
        "POST /internal/imports/{source}/runs/{run_id}/revert": IMPORTERS,
        "POST /internal/imports/{source}/runs/{run_id}/apply": IMPORTERS,
        "POST /internal/imports/{source}/runs/{run_id}/merge": IMPORTERS,
        "GET /internal/imports/{source}/runs/{run_id}/changes": IMPORTERS,
        "GET /internal/imports/{source}/runs/{run_id}/conflicts": IMPORTERS,
        "GET /internal/imports/{source}/runs/{run_id}/rejects": IMPORTERS,
        "POST /internal/imports/prune": IMPORTERS,
        "GET /health": EVERYBODY,
        "GET /livez": EVERYBODY,
    },
    "sync": {
        "POST /sync/trigger": ADMINS,
        "GET /sync/status": ADMINS,
        "GET /sync/runs": ADMINS,
        "GET /sync/runs/{run_id}": ADMINS,
        "GET /sync/runs/{run_id}/diff": ADMINS,
        "GET /sync/runs/{run_id}/events": ADMINS,
        "GET /sync/runs/{run_id}/rejects": ADMINS,
        "POST /sync/runs/{run_id}/apply": ADMINS,
        "POST /sync/runs/{run_id}/cancel": ADMINS,
        "POST /sync/runs/{run_id}/retry": ADMINS,
        "POST /sync/runs/{run_id}/revert": ADMINS,
        "GET /sync/sources": ADMINS,
        "POST /sync/sources": ADMINS,
        "GET /sync/sources/{name}": ADMINS,
        "PATCH /sync/sources/{name}": ADMINS,
        "DELETE /sync/sources/{name}": ADMINS,
        "POST /sync/sources/{name}/move": ADMINS,
        "POST /sync/sources/test": ADMINS,
        "GET /sync/health": EVERYBODY,
        "GET /health": EVERYBODY,
        "GET /livez": EVERYBODY,
    },
}
# Pages for people, which catalog serves for all services.
PAGES = re.compile(r"GET /$|GET /(docs|redoc|problems|openapi\.json|favicon\.ico)")
VALUES = {
    "product_id": str(10**15), "field": "price", "source": "nowhere", "run_id": "00000000-0000-0000-0000-000000000000",
    "name": "nowhere",
}  # fmt: skip
ROUTES = [(service, name) for service, names in PERMISSIONS.items() for name in names]


@pytest.fixture(scope="session")
def sync_settings(database: Database, valkey_url: str, auth_process: Auth) -> SyncSettings:
    values = {"database_url": database("sync"), "redis_url": valkey_url, "auth_url": auth_process.url}
    return SyncSettings.model_validate(values | {"sync_client_secret": SECRET})


@pytest.fixture
async def services(
    auth_process: Auth, catalog_settings: CatalogSettings, sync_settings: SyncSettings
) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """A client of each running service."""
    async with AsyncExitStack() as stack:
        yield {
            "auth": await stack.enter_async_context(checked.AsyncClient(base_url=auth_process.url)),
            "catalog": await stack.enter_async_context(serving(catalog.build(catalog_settings))),
            "sync": await stack.enter_async_context(serving(sync.build(sync_settings))),
        }


@pytest.mark.parametrize("service", SERVICES)
def test_every_registered_route_is_listed(service: str) -> None:
    names = {f"{method} {route.path}" for route in registered(built()[service]) for method in route.methods or ()}
    assert {name for name in names if not PAGES.match(name)} == set(PERMISSIONS[service])


async def test_each_caller_gets_through_where_the_table_says_so(
    services: dict[str, httpx.AsyncClient], auth_process: Auth
) -> None:
    headers = {"nobody": {}, "user": auth_process.user, "admin": auth_process.admin, "sync": auth_process.sync}
    for service, name in ROUTES:
        method, _, path = name.partition(" ")
        answers = {
            caller: await services[service].request(method, path.format_map(VALUES), headers=sent)
            for caller, sent in headers.items()
        }
        passed = {caller for caller, answer in answers.items() if answer.status_code not in (401, 403)}
        assert passed == PERMISSIONS[service][name], name
        assert all(answer.status_code < 500 for answer in answers.values()), name
        refused = {caller: answers[caller].status_code for caller in EVERYBODY - passed}
        assert refused == {caller: 401 if caller == "nobody" else 403 for caller in refused}, name


def test_the_document_asks_for_a_token_where_the_table_does() -> None:
    """Of what is documented; a token may be sent to register, which needs none."""
    table = {name: callers for names in PERMISSIONS.values() for name, callers in names.items()}
    declared = {
        f"{method.upper()} {path}": operation.get("security", [{}])
        for path, operations in openapi.merged()["paths"].items()
        for method, operation in operations.items()
    }
    assert {name for name, needs in declared.items() if {} not in needs} == {
        name for name, callers in table.items() if name in declared and "nobody" not in callers
    }
    assert {name for name, needs in declared.items() if {} in needs and len(needs) > 1} == {"POST /auth/register"}
    assert not [name for name, callers in table.items() if callers == IMPORTERS and name in declared]


def test_the_readme_names_the_same_callers() -> None:
    """Not every route has to be there; what is there exists, and is open to whom the README says."""
    table = {
        re.sub(r"{[a-z]+_id}", "{id}", name): callers
        for names in PERMISSIONS.values()
        for name, callers in names.items()
    }
    words = {"anyone": EVERYBODY, "with a refresh token": EVERYBODY, "logged in": ACCOUNTS, "admin": ADMINS}
    rows = re.findall(
        r"^\| (`.*?`) \| ([a-z ]+) \|",
        DOCUMENTATION["README.md"].partition("## Endpoints\n")[2].partition("\n## ")[0],
        re.M,
    )
    assert len(rows) > 10
    for requests, who in rows:
        method = "GET"
        for text in re.findall(r"`([^`]+)`", requests):
            method, path = text.split() if " " in text else (method, text)
            if not PAGES.match(f"{method} {path}"):
                assert table[f"{method} {path}"] == words[who], text
