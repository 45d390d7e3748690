"""FAULTS, kind by kind, in a real process: what clients see, what is stored, what is counted."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest

from catalog.settings import CatalogSettings
from tests.fixtures import checked
from tests.fixtures.catalog import Auth
from tests.fixtures.databases import dsn
from tests.fixtures.processes import Process, Start, environment_of
from tests.fixtures.stack import ORIGIN
from tests.fixtures.waiting import until

# As with a server that is dead; without that it would be 5 s.
SLOWEST = 15.0
NEW = {"name": "Lamp", "price": 9.99, "category": "things"}


@dataclass
class Unreliable:
    """A catalog that runs with faults."""

    process: Process
    client: httpx.Client

    def injected(self, kind: str) -> int:
        """How many faults of this kind it has counted."""
        return int(self.process.figure(f'products_faults_injected_total{{kind="{kind}"}}'))

    def warnings(self) -> list[str]:
        lines = self.process.lines()
        return [line["message"] for line in lines if line["logger"] == "common.faults" and line["level"] == "warning"]


@contextmanager
def unreliable(start: Start, settings: CatalogSettings, faults: str) -> Iterator[Unreliable]:
    process = start("catalog", "serve", environment_of(settings) | {"BACKEND_CORS_ORIGINS": ORIGIN, "FAULTS": faults})
    with checked.Client(base_url=process.url, timeout=10) as client:
        until(process.live)
        made = Unreliable(process, client)
        yield made
        assert not process.ended(), process.output()
        assert made.warnings() == [f"fault injection is on: FAULTS={faults}"]


@pytest.fixture
def stored(catalog_settings: CatalogSettings) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the empty table of products."""
    with psycopg.connect(dsn(catalog_settings), autocommit=True) as connection:
        connection.execute("DELETE FROM catalog.products")
        connection.execute("DELETE FROM catalog.product_counts")
        yield connection


def names(stored: psycopg.Connection[Any]) -> set[str]:
    return {name for (name,) in stored.execute("SELECT name FROM catalog.products")}


def is_unavailable(answer: httpx.Response) -> bool:
    """A 503 as ours are; anything else that is no success is a fault of ours."""
    if answer.status_code < 300:
        return False
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json"), answer.text
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    return True


def test_latency_lets_requests_wait_and_probes_not(catalog_settings: CatalogSettings, start: Start) -> None:
    with unreliable(start, catalog_settings, "latency=1:300") as catalog:
        # On a busy machine a check may take its second, once.
        until(lambda: {catalog.client.get(path).status_code for path in ("/health", "/livez")} == {200})
        assert catalog.injected("latency") == 0
        answer = catalog.client.get("/products")
        assert answer.status_code == 200
        assert answer.elapsed.total_seconds() >= 0.3
        assert catalog.injected("latency") == 1


def test_error_answers_503_before_anything_is_done(
    catalog_settings: CatalogSettings, auth_process: Auth, stored: psycopg.Connection[Any], start: Start
) -> None:
    with unreliable(start, catalog_settings, "error=1") as catalog:
        # On a busy machine a check may take its second, once.
        until(lambda: {catalog.client.get(path).status_code for path in ("/health", "/livez")} == {200})
        assert catalog.injected("error") == 0
        assert is_unavailable(catalog.client.post("/products", json=NEW, headers=auth_process.admin))
        answer = catalog.client.get("/products", headers={"Origin": ORIGIN})
        assert is_unavailable(answer)
        assert answer.headers["access-control-allow-origin"] == ORIGIN, "pages must see the 503 too"
        assert catalog.injected("error") == 2
    assert names(stored) == set()


def test_postgres_fails_statements_and_stores_exactly_what_it_acknowledged(
    catalog_settings: CatalogSettings, auth_process: Auth, stored: psycopg.Connection[Any], start: Start
) -> None:
    acknowledged, refused = set(), 0
    with unreliable(start, catalog_settings, "postgres=0.1") as catalog:
        for number in range(80):
            name = f"Lamp {number}"
            answer = catalog.client.post("/products", json=NEW | {"name": name}, headers=auth_process.admin)
            if is_unavailable(answer):
                refused += 1
            else:
                acknowledged.add(name)
        assert acknowledged
        assert refused
        assert catalog.injected("postgres") >= refused
    assert names(stored) == acknowledged


def test_postgres_that_always_fails_is_503_and_not_ready(catalog_settings: CatalogSettings, start: Start) -> None:
    with unreliable(start, catalog_settings, "postgres=1") as catalog:
        for path in ("/products", "/products/1"):
            answer = catalog.client.get(path)
            assert is_unavailable(answer)
            assert answer.elapsed.total_seconds() < SLOWEST
        health = catalog.client.get("/health").json()
        assert health["state"] == "unavailable"
        assert health["checks"]["postgres"]["status"] == "failed"
        assert catalog.client.get("/livez").status_code == 200


def test_redis_that_always_fails_fails_no_read(catalog_settings: CatalogSettings, start: Start) -> None:
    with unreliable(start, catalog_settings, "redis=1") as catalog:
        assert {catalog.client.get("/products").status_code for _ in range(10)} == {200}
        health = catalog.client.get("/health")
        assert (health.status_code, health.json()["status"]) == (200, "degraded")
        assert health.json()["checks"]["redis"]["status"] == "failed"
        assert catalog.injected("redis") > 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"APP_ENV": "production", "FAULTS": "error=0"}, "must be empty in production"),
        ({"FAULTS": "disk=1"}, "must be some of latency="),
    ],
    ids=["production", "unknown"],
)
def test_a_process_refuses_to_start(
    catalog_settings: CatalogSettings, start: Start, given: dict[str, str], message: str
) -> None:
    # Passwords that production takes.
    url = re.sub(":[^:@/]+@", ":bYq4rT7w@", dsn(catalog_settings))
    process = start("catalog", "serve", {"REDIS_URL": "redis://:bYq4rT7w@host", "DATABASE_URL": url} | given)
    assert process.process.wait(60) == 2
    (line,) = process.output().splitlines()
    assert line.startswith(f"settings: FAULTS: {message}")
