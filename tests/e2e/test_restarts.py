"""One of two replicas is restarted under load, again and again: no client notices."""

import os
import re
import signal
import threading
import time
from collections import Counter

import httpx
import pytest

from tests.fixtures.stack import Launcher, running
from tests.fixtures.waiting import until

REPLICATED = ("auth", "catalog", "sync-api")
# The last one answers 401 without a token.
PATHS = ("/products", "/products/1", "/.well-known/jwks.json", "/sync/status")
PER_SECOND = 100


class Load(threading.Thread):
    """GET requests through the gateway, so many a second; counts what came of them."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.outcomes: Counter[str] = Counter()
        self._url = url
        self._stop_asked = threading.Event()

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=10) as client:  # unchecked: only the status counts
            due = time.monotonic()
            while not self._stop_asked.is_set():
                path = PATHS[self.outcomes.total() % len(PATHS)]
                try:
                    status = client.get(path).status_code
                    outcome = "ok" if status in (200, 401) else f"{path}: {status}"
                except httpx.TransportError as error:
                    outcome = f"{path}: {error!r}"
                self.outcomes[outcome] += 1
                due += 1 / PER_SECOND
                time.sleep(max(0.0, due - time.monotonic()))

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()


@pytest.mark.chaos
def test_20_restarts_in_a_row_fail_no_request() -> None:
    replicas = {f"REPLICAS_{name.upper().replace('-', '_')}": "2" for name in REPLICATED}
    with running(replicas) as launcher:
        load = Load(launcher.stack["gateway_url"])
        load.start()
        for number in range(20):
            name = REPLICATED[number % len(REPLICATED)]
            restart(launcher, name if number // len(REPLICATED) % 2 else f"{name}-2")
        load.stop()
    print(dict(load.outcomes))
    assert set(load.outcomes) == {"ok"}
    assert load.outcomes.total() > 1000


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
