"""The names and the defaults of settings, the same everywhere; what production refuses."""

import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
import yaml
from dotenv import dotenv_values
from gateway import settings as gateway

import tools.settings
from common.settings import ServiceSettings, load_settings
from stack import settings as launcher
from stack.services import PROGRAMS, SERVICES
from tests.fixtures.processes import inherited

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / ".env.example").read_text("utf-8")
COMPOSE = (ROOT / "docker-compose.yml").read_text("utf-8")
KINDS = tools.settings.SERVICES
PROMISED = {
    "DATABASE_URL", "REDIS_URL", "SECRET_KEY", "EXTERNAL_API_PROVIDER", "EXTERNAL_API_URL", "BACKEND_CORS_ORIGINS",
    "SYNC_INTERVAL_MINUTES", "ADMIN_REGISTRATION", "APP_ENV", "LOG_LEVEL", "OTEL_EXPORTER_OTLP_ENDPOINT",
}  # fmt: skip
PASSWORDS = {setting.name for setting in tools.settings.COMPOSE_PASSWORDS}
LAUNCHERS = {setting.name for setting in tools.settings.declared(launcher.Settings)}
REQUIRED = {
    "DATABASE_URL": "postgresql://role:bYq4@host/products",
    "REDIS_URL": "redis://host",
    "SECRET_KEY": "Kq7wXo2ZrM9tBvY4sHn6JdP1fGc8LeUa",
    "SYNC_CLIENT_SECRET": "Wn3eRt5yUi8oPa1sDf6gHj2kLz9xCv7b",
}
# One unsafe or wrong value each; all contain a word that must not be printed.
COMMON_FAULTS = {
    "DATABASE_URL": "postgresql://canary@host/products",
    "REDIS_URL": "https://canary",
    "BACKEND_CORS_ORIGINS": "https://canary/path",
    "LOG_LEVEL": "canary",
    "LOG_FORMAT": "canary",
    "PORT": "canary",
    "METRICS_PORT": "canary",
    "DRAIN_SECONDS": "canary",
    "DB_POOL_SIZE": "canary",
    "FAULTS": "canary",
}
FAULTS = {
    "auth": {
        "SECRET_KEY": "canary-change-me-0123456789-0123456789",
        "SYNC_CLIENT_SECRET": "canary",
        "ADMIN_REGISTRATION": "first",
    },
    "sync": {
        "SYNC_CLIENT_SECRET": "canary-example-0123456789-0123456789",
        "EXTERNAL_API_PROVIDER": "Canary!",
        "EXTERNAL_API_URL": "file:///canary",
        "SYNC_INTERVAL_MINUTES": "canary",
    },
}


def names(kind: type[ServiceSettings]) -> set[str]:
    return {name.upper() for name in kind.model_fields}


def example() -> dict[str, str]:
    return {name: value or "" for name, value in dotenv_values(stream=StringIO(EXAMPLE)).items()}


def start(service: str, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = inherited() | settings
    command = [sys.executable, "-m", service, "serve"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_files_are_as_the_declarations_say() -> None:
    assert tools.settings.example() == EXAMPLE, "run: make settings"
    assert tools.settings.page() == tools.settings.PAGE.read_text("utf-8"), "run: make settings"
    assert max(map(len, EXAMPLE.splitlines())) <= 120


def test_every_setting_is_declared_once_with_a_description() -> None:
    declared = [setting.name for _, settings in tools.settings.groups() for setting in settings]
    assert len(declared) == len(set(declared))
    for kind in KINDS.values():
        assert names(kind) == {setting.name for setting in tools.settings.declared(kind)}, "a field has no description"
    source = Path(launcher.__file__).read_text("utf-8")
    read = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)*)"', source)) - set(launcher.__all__)
    assert read <= set(declared), "the launcher reads others"
    assert set(declared) >= PROMISED


def test_what_is_said_of_the_gateway_is_what_it_reads() -> None:
    said = {setting.name: setting for setting in tools.settings.declared(tools.settings.GatewaySettings)}
    source = Path(gateway.__file__).read_text("utf-8")
    assert not {name for name in said if f'"{name}"' not in source}
    hops = said["TRUSTED_PROXY_HOPS"]
    limits = hops.limits
    assert gateway.load({}).trusted_proxy_hops == int(hops.default or "") == limits["minimum"]
    assert gateway.load({hops.name: str(limits["maximum"])}).trusted_proxy_hops == limits["maximum"]
    with pytest.raises(gateway.SettingsError, match="TRUSTED_PROXY_HOPS: must be a whole number"):
        gateway.load({hops.name: str(limits["maximum"] + 1)})
    readers = {name: setting.readers for name, setting in said.items()}
    assert readers == dict.fromkeys(("TLS_CERTIFICATE", "TLS_KEY"), "docker compose") | {
        hops.name: "`make run`, docker compose"
    }


def test_a_copy_of_the_example_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = example()
    for name in given:
        monkeypatch.delenv(name, raising=False)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    before = {service: load_settings(kind) for service, kind in KINDS.items()}
    default = launcher.load({}, tmp_path / "none")
    for name, value in (given | REQUIRED).items():
        monkeypatch.setenv(name, value)
    assert {service: load_settings(kind) for service, kind in KINDS.items()} == before
    (tmp_path / ".env").write_text(EXAMPLE, "utf-8")
    copied = launcher.load({}, tmp_path / ".env")
    assert (copied.port, copied.run_dir, copied.replicas) == (default.port, default.run_dir, default.replicas)
    assert copied.external_api_url is None


def test_compose_asks_for_known_names_only() -> None:
    asked = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", COMPOSE))
    assert asked <= set(example())
    assert asked >= PASSWORDS | {"PORT"} | {name for name in LAUNCHERS if name.startswith("REPLICAS_")}


@pytest.mark.parametrize(
    ("container", "service"),
    [*((name, program.service) for name, program in PROGRAMS.items()), *((f"migrate-{it}", it) for it in SERVICES)],
)
def test_a_container_gets_the_settings_of_its_service(container: str, service: str) -> None:
    kind = KINDS[service]
    given = yaml.safe_load(COMPOSE)["services"][container]["environment"]
    assert set(given) == names(kind)
    required = {name.upper() for name, field in kind.model_fields.items() if field.is_required()}
    assert all(given[name] for name in required), "these have no default, so compose must bring one"


@pytest.mark.parametrize("service", KINDS)
def test_production_lists_every_fault_at_once_and_no_value(service: str) -> None:
    faults = COMMON_FAULTS | FAULTS.get(service, {})
    done = start(service, {"APP_ENV": "production"} | faults)
    assert (done.returncode, done.stdout) == (2, "")
    assert set(re.findall(r"^settings: ([A-Z_]+): \S", done.stderr, re.M)) == set(faults)
    assert len(done.stderr.splitlines()) == len(faults), "nothing but one line each"
    assert "canary" not in done.stderr.lower()


@pytest.mark.parametrize("service", KINDS)
def test_what_is_missing_is_named(service: str) -> None:
    required = {name.upper() for name, field in KINDS[service].model_fields.items() if field.is_required()}
    done = start(service, {})
    assert done.returncode == 2
    assert sorted(done.stderr.splitlines()) == sorted(f"settings: {name}: is not set" for name in required)


@pytest.mark.parametrize("container", [name for name, program in PROGRAMS.items() if program.command == "serve"])
def test_production_refuses_the_secrets_of_compose(container: str) -> None:
    """What is in a public file is no secret, however it came into the environment."""
    service = PROGRAMS[container].service
    given = yaml.safe_load(COMPOSE)["services"][container]["environment"]
    defaults = {
        name: re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", str(value)) for name, value in given.items() if value is not None
    }
    assert KINDS[service].model_validate({name.lower(): value for name, value in defaults.items()})
    done = start(service, defaults | {"APP_ENV": "production", "ADMIN_REGISTRATION": "never"})
    refused = set(re.findall(r"^settings: ([A-Z_]+): ", done.stderr, re.M))
    secrets = {"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "SYNC_CLIENT_SECRET"} & names(KINDS[service])
    assert (done.returncode, refused) == (2, secrets)
