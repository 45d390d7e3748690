"""What an uninstall leaves."""

import re
from contextlib import suppress

from tests.deploy.commands import Failed, until
from tests.deploy.k8s.cluster import Cluster
from tests.deploy.k8s.release import Release

__all__ = ["uninstall"]

KINDS = "all,secret,configmap,pvc,ingress,httproute,networkpolicy,pdb,hpa,serviceaccount,role,rolebinding"
OWN = re.compile(r"^(secret/[\w-]+-secrets|persistentvolumeclaim/data-[\w-]+-(postgres|redis)-0)$")


def uninstall(release: Release, part: str) -> None:
    """Only the generated secret and the volume claims of the bundled servers stay."""
    cluster = release.cluster
    cluster.helm("uninstall", release.name, "-n", release.namespace, "--wait")
    given = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
    given |= {f"secret/{name}" for name in ("auth-database", "catalog-database", "sync-database", "cache", "own")}

    def left() -> list[str]:
        return sorted(name for name in objects(cluster, release.namespace) - given if not OWN.match(name))

    with suppress(Failed):
        until("all is gone", lambda: not left(), 120)
    where = release.namespace.rpartition("-")[2]
    release.report.check(part, f"left in {where} beside volume claims and secret", [], left())


def objects(cluster: Cluster, namespace: str) -> set[str]:
    found = cluster.kubectl("get", KINDS, "-n", namespace, "-o", "name").split()
    return {name.replace(".apps", "") for name in found}
