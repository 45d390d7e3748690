"""The kubelet's probes, with the chart's own numbers: while PostgreSQL is away pods leave the Services, and none is
restarted."""

import asyncio
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
import pytest

from tests.fixtures.stack import Launcher, running
from tests.fixtures.waiting import until
from tests.helm.render import pods, render

pytestmark = pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not on PATH")

PROCESSES = ("auth", "catalog", "sync-api", "sync-worker", "sync-scheduler")
AWAY_WITHIN, BACK_WITHIN = 30.0, 30.0


@dataclass
class Probe:
    """One probe of one container, as a kubelet does it: `failed` is how often in a row it did, `worst` the most."""

    url: str
    period: float
    timeout: float
    threshold: int
    failed: int = 0
    worst: int = 0

    @classmethod
    def of(cls, spec: dict[str, Any], ports: dict[str, str], speed: float) -> "Probe":
        get = spec["httpGet"]
        return cls(
            ports[get["port"]] + get["path"], spec["periodSeconds"] / speed, spec["timeoutSeconds"],
            spec["failureThreshold"],
        )  # fmt: skip

    @property
    def passes(self) -> bool:
        return self.failed < self.threshold

    async def keep(self) -> None:
        limits = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(verify=False, limits=limits) as client:  # unchecked: a worker's own health
            while True:
                due = time.monotonic() + self.period
                self.failed = 0 if await self._once(client) else self.failed + 1
                self.worst = max(self.worst, self.failed)
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _once(self, client: httpx.AsyncClient) -> bool:
        try:
            async with asyncio.timeout(self.timeout):
                return (await client.get(self.url, timeout=None)).status_code < 400
        except (httpx.TransportError, TimeoutError):
            return False


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with running() as started:
        yield started


def probes(launcher: Launcher, kind: str, speed: float) -> dict[str, Probe]:
    addresses = {it["name"]: it for it in launcher.stack["processes"]}
    rendered = pods(render())
    found = {}
    for name in PROCESSES:
        (container,) = rendered[name]["spec"]["containers"]
        metrics = addresses[name]["metrics_url"].removesuffix("/metrics")
        ports = {"http": addresses[name]["url"] or "", "metrics": metrics}
        found[name] = Probe.of(container[f"{kind}Probe"], ports, speed)
    return found


@contextmanager
def outage(launcher: Launcher, kind: str) -> Iterator[None]:
    """PostgreSQL frozen, or killed by a launcher's back that does not start it again meanwhile."""
    postgres = psutil.Process(launcher.pid("postgres"))
    family = [postgres, *postgres.children(recursive=True)]
    if kind == "killed":
        launcher.process.send_signal(signal.SIGSTOP)
    for process in family:
        process.suspend() if kind == "frozen" else process.kill()
    try:
        yield
    finally:
        if kind == "killed":
            launcher.process.send_signal(signal.SIGCONT)
        for process in family if kind == "frozen" else []:
            process.resume()


@pytest.mark.parametrize("speed", [10, pytest.param(1, marks=pytest.mark.chaos)], ids=["faster", "as it is"])
@pytest.mark.parametrize("kind", ["frozen", "killed"])
async def test_no_restart_while_postgres_is_away(launcher: Launcher, kind: str, speed: float) -> None:
    """`speed` is how much more often than a kubelet we ask; the time for an answer stays the chart's."""
    readiness, liveness = (probes(launcher, name, speed) for name in ("readiness", "liveness"))
    pids = {name: launcher.pid(name) for name in liveness}
    keepers = [asyncio.create_task(probe.keep()) for probe in (*readiness.values(), *liveness.values())]
    with outage(launcher, kind):
        began = time.monotonic()
        await asyncio.to_thread(until, lambda: not any(it.passes for it in readiness.values()), AWAY_WITHIN)
        print(f"all unready after {time.monotonic() - began:.1f} s")
        longest = began + max(it.threshold * it.period for it in liveness.values()) + 1
        await asyncio.to_thread(until, lambda: time.monotonic() > longest, 120)
        assert not any(it.passes for it in readiness.values())
    began = time.monotonic()
    await asyncio.to_thread(until, lambda: all(it.passes for it in readiness.values()), BACK_WITHIN)
    print(f"all ready after {time.monotonic() - began:.1f} s")
    for keeper in keepers:
        keeper.cancel()
    assert [name for name, it in liveness.items() if it.worst >= it.threshold] == []
    assert {name: launcher.pid(name) for name in liveness} == pids
