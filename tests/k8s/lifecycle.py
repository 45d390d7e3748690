"""External databases, two releases side by side, what an uninstall leaves, and an upgrade from the last version."""

import base64
import re
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

import yaml

from tests.k8s.cluster import ROOT, Cluster, Failed, until
from tests.k8s.install import tours
from tests.k8s.load import login
from tests.k8s.release import Release
from tests.k8s.report import Report

__all__ = ["external", "previous", "uninstall"]

PASSWORD = "Kq7wXo2ZrM9tBvY4sHn6JdP1fGc8LeUa"
KINDS = "all,secret,configmap,pvc,ingress,httproute,networkpolicy,pdb,hpa,serviceaccount,role,rolebinding"
OWN = re.compile(r"^(secret/\w+-secrets|persistentvolumeclaim/data-\w+-(postgres|redis)-0)$")
SERVERS = """
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec:
  selector: {app: NAME}
  ports: [{port: PORT}]
---
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: NAME}}
spec:
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 999, fsGroup: 999, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: NAME
      image: IMAGE
      args: ARGS
      env: ENV
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      volumeMounts: MOUNTS
  volumes: VOLUMES
"""


def external(release: Release, elsewhere: str) -> None:
    """A second release, with PostgreSQL and Redis of its own choice in another namespace, given by Secrets."""
    cluster, report = release.cluster, release.report
    serve(cluster, elsewhere)
    urls = {
        service: f"postgresql://{service}_svc:{PASSWORD}@postgres.{elsewhere}:5432/products"
        for service in ("auth", "catalog", "sync")
    }
    for service, url in urls.items():
        secret(cluster, release.namespace, f"{service}-database", DATABASE_URL=url)
    secret(cluster, release.namespace, "cache", REDIS_URL=f"redis://:{PASSWORD}@redis.{elsewhere}:6379/0")
    secret(cluster, release.namespace, "own", SECRET_KEY=PASSWORD * 2, SYNC_CLIENT_SECRET=PASSWORD[::-1] * 2)
    release.values = {
        "global": {"existingSecret": "own", "redis": {"existingSecret": "cache"}},
        **{service: {"database": {"existingSecret": f"{service}-database"}} for service in urls},
        "postgres": {"enabled": False},
        "redis": {"enabled": False},
    }
    release.helm("install", "--wait", "--timeout", "180s")
    report.check("7 external", "pods of bundled servers", [], bundled(release))
    until("the gateway leads to it", lambda: release.answers(), 30)
    until("the first sync is done", lambda: release.get("/products?limit=1").json()["total"] == 194, 90)
    tours(release, release.route_host, "HTTPRoute, external servers")


def bundled(release: Release) -> list[str]:
    return [
        pod["metadata"]["name"]
        for name in ("postgres", "redis")
        for pod in release.cluster.pods(release.namespace, name)
    ]


def serve(cluster: Cluster, namespace: str) -> None:
    """PostgreSQL and Valkey as plain pods, with the product's roles and schemas."""
    files = ROOT / "helm/products-api/files"
    cluster.kubectl(
        "create",
        "configmap",
        "init",
        "-n",
        namespace,
        f"--from-file={files}/init.sql",
        f"--from-file={files}/bootstrap.sql",
    )
    names = ("POSTGRES_PASSWORD", "AUTH_DB_PASSWORD", "CATALOG_DB_PASSWORD", "SYNC_DB_PASSWORD")
    mounts = [
        {"name": "init", "mountPath": "/docker-entrypoint-initdb.d/init.sql", "subPath": "init.sql"},
        {"name": "init", "mountPath": "/bootstrap.sql", "subPath": "bootstrap.sql"},
    ]
    parts = {
        "postgres": (
            5432,
            "postgres:17-trixie",
            ["postgres"],
            mounts,
            [{"name": "init", "configMap": {"name": "init"}}],
        ),
        "redis": (6379, "valkey/valkey:8", ["valkey-server", "--requirepass", PASSWORD], [], []),
    }
    for name, (port, image, arguments, mounted, volumes) in parts.items():
        environment = [{"name": key, "value": PASSWORD} for key in names] + [
            {"name": "POSTGRES_DB", "value": "products"}
        ]
        text = SERVERS.replace("NAME", name).replace("PORT", str(port), 1).replace("IMAGE", image)
        for key, value in (("ARGS", arguments), ("ENV", environment), ("MOUNTS", mounted), ("VOLUMES", volumes)):
            text = text.replace(
                f": {key}\n", f": {yaml.safe_dump(value, default_flow_style=True, width=10**6).strip()}\n"
            )
        cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=text)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod", "--all", "--timeout=90s")


def secret(cluster: Cluster, namespace: str, name: str, **data: str) -> None:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded})
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=text)


def objects(cluster: Cluster, namespace: str) -> set[str]:
    found = cluster.kubectl("get", KINDS, "-n", namespace, "-o", "name").split()
    return {name.replace(".apps", "") for name in found}


def uninstall(release: Release) -> None:
    """Only the generated secret and the volume claims of the bundled servers stay."""
    cluster = release.cluster
    cluster.helm("uninstall", release.name, "-n", release.namespace, "--wait")
    given = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
    given |= {f"secret/{name}" for name in ("auth-database", "catalog-database", "sync-database", "cache", "own")}

    def left() -> list[str]:
        return sorted(name for name in objects(cluster, release.namespace) - given if not OWN.match(name))

    try:
        until("all is gone", lambda: not left(), 120)
    except Failed:
        pass
    release.report.check(
        "7 uninstall", f"left in {release.namespace.rpartition('-')[2]} beside volume claims and secret", [], left()
    )


def previous(release: Release, report: Report) -> bool:
    """Install the chart as it was in the version before this one, then upgrade; false if there was none."""
    cluster = release.cluster
    file = "helm/products-api/Chart.yaml"
    now = re.search(r"^version: (.+)$", (ROOT / file).read_text("utf-8"), re.M)
    commits = cluster.run("git", "log", "--format=%H", "--", file, check=False).split()
    for commit in commits:
        then = re.search(r"^version: (.+)$", cluster.run("git", "show", f"{commit}:{file}", check=False), re.M)
        if now and then and then[1] != now[1]:
            break
    else:
        report.note(
            "8 last version", "helm upgrade from it", "this is the first version: there is none to upgrade from"
        )
        return False
    with tempfile.TemporaryDirectory() as scratch:
        archive = cluster.run("git", "archive", "--format=tar", commit, "helm/products-api")
        with tarfile.open(fileobj=BytesIO(archive.encode())) as tar:
            tar.extractall(scratch, filter="data")
        chart = str(Path(scratch, "helm/products-api"))
        cluster.helm(
            "install",
            release.name,
            chart,
            "-n",
            release.namespace,
            "--wait",
            "--set",
            f"global.image.tag={release.tag}",
        )
    release.helm("upgrade", "--wait", "--timeout", "180s")
    login(cluster.gateway_url, release.host)
    report.check(
        "8 last version",
        f"products after the upgrade from {then[1]}",
        194,
        release.get("/products?limit=1").json()["total"],
    )
    return True
