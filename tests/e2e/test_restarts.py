"""One of two replicas is restarted under load, again and again: no client notices."""

import os
import re
import signal

import httpx
import pytest

from tests.deploy.client import Client
from tests.deploy.load import Load
from tests.fixtures.stack import Launcher, running
from tests.fixtures.waiting import until

REPLICATED = ("auth", "catalog", "sync-api")


@pytest.mark.chaos
def test_20_restarts_in_a_row_fail_no_request() -> None:
    replicas = {f"REPLICAS_{name.upper().replace('-', '_')}": "2" for name in REPLICATED}
    with running(replicas) as launcher:
        client = Client(launcher.stack["gateway_url"], "localhost")
        client.register()
        until(lambda: client.total() == 194)
        with Load(client, client.token(), others=("/.well-known/jwks.json", "/sync/status")) as load:
            for number in range(20):
                name = REPLICATED[number % len(REPLICATED)]
                restart(launcher, name if number // len(REPLICATED) % 2 else f"{name}-2")
        print(f"{load.sent} requests, {len(load.written)} writes, p99 {load.percentile(0.99)}")
        assert not load.failures
        assert not load.lost()
        assert load.written


def restart(launcher: Launcher, name: str) -> None:
    """Return when the process is ready again, and the gateway knows it."""
    before = launcher.pid(name)
    assert before is not None
    os.kill(before, signal.SIGTERM)
    until(lambda: launcher.pid(name) not in (before, None))
    process = next(it for it in launcher.stack["processes"] if it["name"] == name)
    until(lambda: is_ready(process["url"]))
    until(lambda: ready_replicas(launcher) == {2})


def ready_replicas(launcher: Launcher) -> set[int]:
    """How many processes of each replicated service the gateway has found to be ready."""
    gateway = next(it for it in launcher.stack["processes"] if it["name"] == "gateway")
    text = httpx.get(gateway["metrics_url"], timeout=5).text  # unchecked: metrics
    found = re.findall(
        r'^envoy_cluster_membership_healthy\{envoy_cluster_name="(?:auth|catalog|sync)"\} (\d+)$', text, re.M
    )
    return {int(number) for number in found}


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200  # unchecked: only the status counts
    except httpx.TransportError:
        return False
