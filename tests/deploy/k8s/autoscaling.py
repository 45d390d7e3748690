"""Under load catalog grows, and shrinks again."""

from tests.deploy.commands import until
from tests.deploy.k8s.release import Release

__all__ = ["autoscaling"]

PART = "autoscaling"


def autoscaling(release: Release) -> None:
    """An HPA with a short memory: from one pod to more under load, and back."""
    cluster, report = release.cluster, release.report
    hpa = {
        "enabled": True, "minReplicas": 1, "maxReplicas": 3, "targetCPU": 60,
        "behavior": {
            "scaleUp": {"stabilizationWindowSeconds": 0},
            "scaleDown": {
                "stabilizationWindowSeconds": 5,
                "policies": [{"type": "Percent", "value": 100, "periodSeconds": 5}],
            },
        },
    }  # fmt: skip
    catalog = {"api": {"autoscaling": hpa, "resources": {"requests": {"cpu": "100m"}}}}
    release.helm("upgrade", "--wait", "--timeout", "180s", catalog=catalog)

    def replicas() -> int:
        wanted = cluster.get(release.namespace, "deployment", f"{release.name}-catalog")[0]["spec"]["replicas"]
        return int(wanted)

    until("the HPA begins with one pod", lambda: replicas() == 1, 120)
    report.check(PART, "pods of catalog at rest", 1, replicas())
    with release.load(rate=150) as load:
        grown = until("the HPA adds pods", lambda: count if (count := replicas()) > 1 else 0, 120)
    report.check(PART, "pods of catalog under load", "> 1", grown, grown > 1)
    report.note(PART, f"failed of {load.sent} requests while it grew", dict(load.failures))
    until("the HPA takes them away", lambda: replicas() == 1, 150)
    report.check(PART, "pods of catalog after it", 1, replicas())
