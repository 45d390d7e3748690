"""What is killed comes back, and what was acknowledged is still there."""

import time
from functools import partial

from tests.deploy.commands import until
from tests.deploy.k8s.release import Release

__all__ = ["pod_kills"]

PART = "pod-kills"


def pod_kills(release: Release) -> None:
    """Worker, scheduler, Redis and PostgreSQL are killed, one after the other."""
    cluster, report, client = release.cluster, release.report, release.client
    before = cluster.restarts(release.namespace)
    with release.load(rate=20) as load:
        until("writes are there", lambda: len(load.written) > 20, 60)
    for component in ("sync-worker", "sync-scheduler", "redis", "postgres"):
        old = cluster.pods(release.namespace, component)[0]["metadata"]
        command = ["delete", "pod", "-n", release.namespace, old["name"], "--force", "--grace-period=0"]
        cluster.kubectl(*command)
        until(f"a new {component} is ready", partial(ready, release, component, old["uid"]), 120)
        began = time.monotonic()
        until("reads, writes and logins are served", client.serves, 60)
        seconds = time.monotonic() - began
        report.check(PART, f"served again after {component} is ready", "< 10 s", f"{seconds:.1f} s", seconds < 10)
    report.check(PART, "a sync after all that", "succeeded", client.ended(client.trigger())["state"])
    report.check(PART, f"lost of {len(load.written)} acknowledged writes", [], load.lost())
    after = {name: count for name, count in cluster.restarts(release.namespace).items() if count != before.get(name, 0)}
    report.check(PART, "containers restarted by it", {}, after)


def ready(release: Release, component: str, old: str) -> bool:
    """Whether another pod than the old one is ready."""
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for pod in release.cluster.pods(release.namespace, component)
        if pod["metadata"]["uid"] != old
        for condition in pod["status"].get("conditions", [])
    )
