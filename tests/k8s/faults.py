"""What is killed comes back, and what was acknowledged is still there."""

import time
from functools import partial

from tests.k8s.cluster import until
from tests.k8s.release import Release

__all__ = ["faults"]


def faults(release: Release) -> None:
    """Worker, scheduler, Redis and PostgreSQL are killed, one after the other."""
    cluster, report = release.cluster, release.report
    before = cluster.restarts(release.namespace)
    with release.load(rate=20) as load:
        until("writes are there", lambda: len(load.written) > 20, 60)
    for component in ("worker", "scheduler", "redis", "postgres"):
        old = cluster.pods(release.namespace, component)[0]["metadata"]
        command = ["delete", "pod", "-n", release.namespace, old["name"], "--force", "--grace-period=0"]
        cluster.kubectl(*command)
        until(f"a new {component} is ready", partial(ready, release, component, old["uid"]), 120)
        began = time.monotonic()
        until("reads, writes and logins are served", lambda: serves(release), 60)
        back = time.monotonic() - began
        report.check("4 faults", f"served again after {component} is ready", "< 10 s", f"{back:.1f} s", back < 10)
    report.check("4 faults", "a sync after all that", "succeeded", release.ended(release.sync()))
    report.check("4 faults", f"lost of {len(load.written)} acknowledged writes", [], load.lost())
    after = {name: count for name, count in cluster.restarts(release.namespace).items() if count != before.get(name, 0)}
    report.check("4 faults", "containers restarted by it", {}, after)


def ready(release: Release, component: str, old: str) -> bool:
    """Whether another pod than the old one is ready."""
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for pod in release.cluster.pods(release.namespace, component)
        if pod["metadata"]["uid"] != old
        for condition in pod["status"].get("conditions", [])
    )


def serves(release: Release) -> bool:
    """A read, a login and a write."""
    body = {"name": "After", "description": "a fault", "price": 1, "category": "test"}
    made = release.get("/products", method="POST", json=body, headers=release.admin())
    return made.status_code == 201 and release.answers()
