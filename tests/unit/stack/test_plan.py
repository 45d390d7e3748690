"""The plan: what is started with which settings, and which process gets which secret."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stack import credentials
from stack.plan import Plan
from stack.run_dir import RunDir
from stack.servers.postgres import PostgresServer
from stack.services import PROGRAMS
from stack.settings import load
from stack.specs import ProcessSpec, Stage
from stack.status import products_row
from tests.fixtures.stack import folder


@pytest.fixture
def run_dir() -> Iterator[RunDir]:
    with folder() as path:
        made = RunDir(path)
        made.create()
        yield made


def make(run_dir: RunDir, **environment: str) -> Plan:
    settings = load(environment, Path("/nowhere/.env"))
    return Plan.create(settings, run_dir, credentials.load(run_dir, environment), pretty=False)


def all_specs(plan: Plan) -> list[ProcessSpec]:
    assert isinstance(plan.postgres, PostgresServer)
    return [*plan.servers(), plan.postgres.spec(), *plan.services()]


def test_replicas_are_numbered_and_all_ports_differ(run_dir: RunDir) -> None:
    plan = make(run_dir, REPLICAS_CATALOG="3", REPLICAS_SYNC_WORKER="2")
    specs = all_specs(plan)

    names = [spec.name for spec in specs]
    assert {"catalog", "catalog-2", "catalog-3", "sync-worker", "sync-worker-2"} < set(names)
    assert len(names) == len(set(names)) == len(PROGRAMS) + 3 + 4
    ports = [port for pair in plan.ports.values() for port in pair]
    assert isinstance(plan.postgres, PostgresServer)
    assert plan.redis
    ports += [plan.postgres.port, plan.redis.port, *plan.gateway_ports, plan.dummyjson_port or 0]
    assert len(ports) == len(set(ports))


def test_each_service_gets_its_own_role_and_secrets_only(run_dir: RunDir) -> None:
    plan = make(run_dir, SECRET_KEY="s" * 40, SYNC_CLIENT_SECRET="c" * 40, LOG_LEVEL="debug")
    auth, catalog, sync = (plan.environment(service) for service in ("auth", "catalog", "sync"))

    assert [env["DATABASE_URL"].split(":")[1] for env in (auth, catalog, sync)] == [
        "//auth_svc",
        "//catalog_svc",
        "//sync_svc",
    ]
    assert auth["SECRET_KEY"] == "s" * 40
    assert sync["SYNC_CLIENT_SECRET"] == auth["SYNC_CLIENT_SECRET"] == "c" * 40
    assert not {"SECRET_KEY", "SYNC_CLIENT_SECRET"} & catalog.keys()
    assert "SECRET_KEY" not in sync
    assert {env["LOG_LEVEL"] for env in (auth, catalog, sync)} == {"debug"}
    assert not {"PORT", "RUN_DIR"} & auth.keys()


def test_no_secret_stands_in_arguments(run_dir: RunDir) -> None:
    plan = make(run_dir)
    arguments = " ".join(argument for spec in all_specs(plan) for argument in spec.argv)

    own = [secret for secret in vars(plan.credentials).values() if isinstance(secret, str)]
    assert not [secret for secret in (*own, *plan.credentials.roles.values()) if secret in arguments]


def test_an_external_api_replaces_the_stand_in(run_dir: RunDir) -> None:
    bundled, live = make(run_dir), make(run_dir, EXTERNAL_API_URL="https://dummyjson.com/products")

    assert Stage.DUMMYJSON in {spec.stage for spec in bundled.servers()}
    assert bundled.environment("sync")["EXTERNAL_API_URL"] == f"http://127.0.0.1:{bundled.dummyjson_port}/products"
    assert Stage.DUMMYJSON not in {spec.stage for spec in live.servers()}
    assert live.environment("sync")["EXTERNAL_API_URL"] == "https://dummyjson.com/products"


def test_only_replicas_drain_for_longer(run_dir: RunDir) -> None:
    specs = {spec.name: spec for spec in make(run_dir, REPLICAS_CATALOG="2").services()}
    chosen = {spec.name: spec for spec in make(run_dir, REPLICAS_CATALOG="2", DRAIN_SECONDS="4").services()}

    assert [specs[name].env["DRAIN_SECONDS"] for name in ("auth", "catalog", "catalog-2")] == ["0.2", "1.5", "1.5"]
    assert chosen["catalog"].env["DRAIN_SECONDS"] == "4"


def test_the_banner_says_when_a_first_sync_that_failed_is_tried_again(run_dir: RunDir) -> None:
    plan = make(run_dir, EXTERNAL_API_URL="https://api.example/products")
    assert products_row(plan, {"last_success_at": None, "retry_at": None}) == "from https://api.example/products"
    row = products_row(plan, {"last_success_at": None, "retry_at": "2026-01-31T12:00:10Z"})
    assert "the first sync failed; it is tried again at 2026-01-31T12:00:10Z" in row
    assert "make logs" in row


def test_the_key_of_a_source_is_not_in_the_banner(run_dir: RunDir) -> None:
    plan = make(run_dir, EXTERNAL_API_URL="https://user:secret@shop.example/products?key=secret")
    assert products_row(plan, {}) == "from https://shop.example/products"
