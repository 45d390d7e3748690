"""`kubectl scale` beside helm: a field that the chart leaves out is left alone."""

from typing import Any

from tests.deploy.k8s.release import Release

__all__ = ["manual_scaling"]

PART = "manual-scaling"
BY_HAND: dict[str, Any] = {"sync": {"scheduler": {"replicas": None}}}


def manual_scaling(release: Release) -> None:
    """As an operator meets it: what was scaled by hand is in the way of an upgrade until the chart leaves it out."""
    cluster, report = release.cluster, release.report
    name = release.object("deployment", "sync-scheduler")

    def replicas() -> int:
        return int(cluster.get(release.namespace, name)[0]["spec"]["replicas"])

    cluster.kubectl("scale", "-n", release.namespace, name, "--replicas=2")
    release.helm("upgrade", "--wait", "--timeout", "120s", **BY_HAND)
    report.check(PART, "pods after an upgrade with replicas: null", 2, replicas())
    cluster.kubectl("scale", "-n", release.namespace, name, "--replicas=3")
    release.helm("upgrade", "--wait", "--timeout", "120s", **BY_HAND)
    report.check(PART, "pods after one more", 3, replicas())
    release.helm("upgrade", "--wait", "--timeout", "120s", "--force-conflicts")
    report.check(PART, "pods after an upgrade that takes the number back", 1, replicas())
