"""Everything is replaced while requests come: none fails, nothing acknowledged is lost, a sync ends once."""

from collections.abc import Callable

from tests.k8s.cluster import until
from tests.k8s.release import APIS, DEPLOYMENTS, Release

__all__ = ["deletions", "restarts", "rollback", "source_ids", "under_load", "upgrade"]


def under_load(release: Release, part: str, what: str, change: Callable[[], None]) -> None:
    """`change` at 100 requests a second through the Ingress."""
    report = release.report
    report.say(f"{part}: {what} at 100 requests a second")
    with release.load() as load:
        until("the load runs", lambda: len(load.latencies) > 100, 60)
        change()
        reached = load.sent
        until("the load runs on", lambda: load.sent > reached + 200, 60)
    report.check(part, f"{what}: failed of {load.sent} requests", {}, dict(load.failures))
    report.check(part, f"{what}: lost of {len(load.written)} acknowledged writes", [], load.lost())
    report.note(part, f"{what}: p50, p99", f"{load.percentile(0.5)}, {load.percentile(0.99)}")


def upgrade(release: Release, tag: str) -> None:
    """A new image, a changed setting and a migration of each service; a sync runs meanwhile."""
    runs: list[str] = []

    def change() -> None:
        runs.append(release.sync())
        release.tag = tag
        release.values = {"global": {"settings": {"LOG_LEVEL": "warning"}}}
        release.helm("upgrade", "--wait", "--timeout", "300s", timeout=330)

    under_load(release, "2 upgrade", "helm upgrade (image, setting, migrations)", change)
    ended = release.ended(runs[0])
    release.report.check("3 sync", "the run that was triggered before the upgrade", "succeeded", ended)
    status = release.get("/sync/status", headers=release.admin()).json()["sources"][0]
    release.report.check("3 sync", "runs left active", None, status["active_run"])
    pairs = source_ids(release)
    release.report.check("3 sync", "products of the source, each once", (194, 194), (len(pairs), len(set(pairs))))


def source_ids(release: Release) -> list[str]:
    """The external ids of all products that came from the source; the tour restores the one that it deletes."""
    found: list[str] = []
    path = "/products?limit=500&cursor="
    while path:
        page = release.get(path).json()
        found += [item["external_id"] for item in page["items"] if item["source"] == "dummyjson"]
        path = page["next"]
    return found


def restarts(release: Release) -> None:
    """`kubectl rollout restart` of each Deployment."""
    names = [release.object("deployment", component) for component in DEPLOYMENTS]

    def change() -> None:
        for name in names:
            release.cluster.kubectl("rollout", "restart", "-n", release.namespace, name)
            release.cluster.rolled_out(release.namespace, name)

    under_load(release, "2 restart", f"rollout restart of {len(names)} Deployments", change)


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

    under_load(release, "2 delete", "a pod of each Deployment deleted", change)


def rollback(release: Release, tag: str) -> None:
    """Back to the first revision, whose code is older than the schema."""

    def change() -> None:
        release.tag = tag
        command = ["rollback", release.name, "1", "-n", release.namespace, "--wait", "--timeout", "300s"]
        release.cluster.helm(*command, timeout=330)

    under_load(release, "2 rollback", "helm rollback behind the migrations", change)
    job = release.cluster.pods(release.namespace, "migrate-catalog")[-1]["metadata"]["name"]
    said = release.cluster.kubectl("logs", "-n", release.namespace, job)
    release.report.check("2 rollback", "the migration job leaves the newer schema alone", True, "nothing to do" in said)
