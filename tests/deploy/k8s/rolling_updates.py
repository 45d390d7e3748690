"""Everything is replaced while requests come: none fails, nothing acknowledged is lost, a sync ends once."""

import json
from collections.abc import Callable
from typing import Any

import yaml

from tests.deploy.commands import until
from tests.deploy.k8s.release import APIS, DEPLOYMENTS, Release

__all__ = ["deletions", "restarts", "rollback", "same_again", "under_load", "upgrade"]


def under_load(release: Release, part: str, what: str, change: Callable[[], None]) -> None:
    """`change` at 100 requests a second through the Ingress."""
    report = release.report
    report.say(f"{part}: {what} at 100 requests a second")
    with release.load() as load:
        until("answers come", lambda: len(load.latencies) > 100, 60)
        change()
        load.go_on(200)
    report.check(part, f"{what}: failed of {load.sent} requests", {}, dict(load.failures))
    report.check(part, f"{what}: lost of {len(load.written)} acknowledged writes", [], load.lost())
    report.note(part, f"{what}: p50, p99", f"{load.percentile(0.5)}, {load.percentile(0.99)}")


def upgrade(release: Release, tag: str) -> None:
    """A new image, a changed setting and a migration of each service; a sync runs meanwhile."""
    client, runs = release.client, list[str]()

    def change() -> None:
        runs.append(client.trigger())
        release.tag = tag
        release.values = {"global": {"settings": {"LOG_LEVEL": "warning"}}}
        release.helm("upgrade", "--wait", "--timeout", "300s", timeout=330)

    under_load(release, "upgrade", "helm upgrade (image, setting, migrations)", change)
    ended = client.ended(runs[0])["state"]
    release.report.check("upgrade", "the run that was triggered before the upgrade", "succeeded", ended)
    status = client.get("/sync/status", client.admin()).json()["sources"][0]
    release.report.check("upgrade", "runs left active", None, status["active_run"])
    ids = client.source_ids()
    release.report.check("upgrade", "products of the source, each once", (194, 194), (len(ids), len(set(ids))))


def same_again(release: Release) -> None:
    """The same values make the same objects: nothing is replaced, and no migration runs."""
    cluster, report = release.cluster, release.report
    now = objects(cluster.helm("get", "manifest", release.name, "-n", release.namespace))
    then = objects(json.loads(release.helm("upgrade", "--dry-run=server", "--output=json"))["manifest"])
    changed = sorted(name for name in now | then if now.get(name) != then.get(name))
    report.check("same-again", f"of {len(now)} objects the same values change", [], changed)
    pods = running(release)
    release.helm("upgrade", "--wait", "--timeout", "120s")
    report.check("same-again", f"of {len(pods)} pods the same values replace", [], sorted(pods ^ running(release)))


def objects(manifest: str) -> dict[str, Any]:
    """By kind and name."""
    return {f"{it['kind']}/{it['metadata']['name']}": it for it in yaml.safe_load_all(manifest) if it}


def running(release: Release) -> set[str]:
    return {pod["metadata"]["name"] for pod in release.cluster.pods(release.namespace)}


def restarts(release: Release) -> None:
    """`kubectl rollout restart` of each Deployment."""
    names = [release.object("deployment", component) for component in DEPLOYMENTS]

    def change() -> None:
        for name in names:
            release.cluster.kubectl("rollout", "restart", "-n", release.namespace, name)
            release.cluster.rolled_out(release.namespace, name)

    under_load(release, "rollout-restart", f"rollout restart of {len(names)} Deployments", change)


def deletions(release: Release) -> None:
    """`kubectl delete pod`, one of each."""
    cluster = release.cluster

    def change() -> None:
        for component in DEPLOYMENTS:
            pod = cluster.pods(release.namespace, component)[0]["metadata"]["name"]
            cluster.kubectl("delete", "pod", "-n", release.namespace, pod, "--wait=false")
            if component in APIS:
                cluster.rolled_out(release.namespace, release.object("deployment", component))
        cluster.rolled_out(release.namespace, *(release.object("deployment", name) for name in DEPLOYMENTS))

    under_load(release, "pod-deletion", "a pod of each Deployment deleted", change)


def rollback(release: Release, tag: str) -> None:
    """Back to the first revision, whose code is older than the schema."""

    def change() -> None:
        release.tag = tag
        command = ["rollback", release.name, "1", "-n", release.namespace, "--wait", "--timeout", "300s"]
        release.cluster.helm(*command, timeout=330)

    under_load(release, "rollback", "helm rollback behind the migrations", change)
    job = release.cluster.pods(release.namespace, "migrate-catalog")[-1]["metadata"]["name"]
    logs = release.cluster.kubectl("logs", "-n", release.namespace, job)
    release.report.check("rollback", "the migration job leaves the newer schema alone", True, "nothing to do" in logs)
