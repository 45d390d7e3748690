"""External databases, two releases side by side, what an uninstall leaves, and an upgrade from the last version."""

import base64
import json
import re
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tests.k8s.cluster import ROOT, Cluster, Failed, until
from tests.k8s.install import tours
from tests.k8s.load import EMAIL, PASSWORD
from tests.k8s.release import BLOCKS, REPOSITORIES, Release
from tests.k8s.rolling import source_ids, under_load

__all__ = ["external", "previous", "readme", "uninstall"]

SECRET = "Kq7wXo2ZrM9tBvY4sHn6JdP1fGc8LeUa"
KINDS = "all,secret,configmap,pvc,ingress,httproute,networkpolicy,pdb,hpa,serviceaccount,role,rolebinding"
OWN = re.compile(r"^(secret/[\w-]+-secrets|persistentvolumeclaim/data-[\w-]+-(postgres|redis)-0)$")
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
        service: f"postgresql://{service}_svc:{SECRET}@postgres.{elsewhere}:5432/products"
        for service in ("auth", "catalog", "sync")
    }
    for service, url in urls.items():
        secret(cluster, release.namespace, f"{service}-database", DATABASE_URL=url)
    secret(cluster, release.namespace, "cache", REDIS_URL=f"redis://:{SECRET}@redis.{elsewhere}:6379/0")
    secret(cluster, release.namespace, "own", SECRET_KEY=SECRET * 2, SYNC_CLIENT_SECRET=SECRET[::-1] * 2)
    release.values = {
        "global": {"existingSecret": "own", "redis": {"existingSecret": "cache"}},
        **{service: {"database": {"existingSecret": f"{service}-database"}} for service in urls},
        "postgres": {"enabled": False},
        "redis": {"enabled": False},
    }
    release.helm("install", "--wait", "--timeout", "180s")
    report.check("7 external", "pods of bundled servers", [], bundled(release))
    until("both ways lead to it", lambda: release.answers() and release.answers(release.route_host), 30)
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
    files = [f"--from-file={ROOT}/helm/products-api/files/{name}.sql" for name in ("init", "bootstrap")]
    cluster.kubectl("create", "configmap", "init", "-n", namespace, *files)
    names = ("POSTGRES_PASSWORD", "AUTH_DB_PASSWORD", "CATALOG_DB_PASSWORD", "SYNC_DB_PASSWORD")
    mounts = {"init.sql": "/docker-entrypoint-initdb.d/init.sql", "bootstrap.sql": "/bootstrap.sql"}
    mounted = [{"name": "init", "mountPath": path, "subPath": name} for name, path in mounts.items()]
    volumes = [{"name": "init", "configMap": {"name": "init"}}]
    environment = [{"name": key, "value": SECRET} for key in names] + [{"name": "POSTGRES_DB", "value": "products"}]
    parts: dict[str, tuple[int, str, list[str], list[Any], list[Any]]] = {
        "postgres": (5432, "postgres:17-trixie", ["postgres"], mounted, volumes),
        "redis": (6379, "valkey/valkey:8", ["valkey-server", "--requirepass", SECRET], [], []),
    }
    for name, (port, image, *lists) in parts.items():
        text = SERVERS.replace("NAME", name).replace("PORT", str(port), 1).replace("IMAGE", image)
        for key, value in zip(("ARGS", "MOUNTS", "VOLUMES", "ENV"), [*lists, environment], strict=True):
            text = text.replace(f": {key}\n", f": {json.dumps(value)}\n")
        cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=text)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod", "--all", "--timeout=90s")


def readme(release: Release) -> None:
    """The README's commands as they stand there, in the namespace of `release`: the defaults, in production mode."""
    script = BLOCKS["kubernetes"].replace("kind load docker-image", release.cluster.image_load)
    script = script.replace("--namespace products", f"--namespace {release.namespace}")
    said = release.cluster.run("bash", "-euo", "pipefail", "-c", script, timeout=400)
    release.report.check("7 README", "its commands for Kubernetes", True, "Phase:          Succeeded" in said)
    release.report.check("7 README", "containers restarted", {}, release.cluster.restarts(release.namespace))


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
    where = release.namespace.rpartition("-")[2]
    release.report.check("7 uninstall", f"left in {where} beside volume claims and secret", [], left())


def previous(release: Release) -> None:
    """The last version, chart and images out of git's history, is upgraded to this one under load."""
    cluster, report = release.cluster, release.report
    found = last_version(cluster)
    if found is None:
        report.note("8 last version", "helm upgrade from it", "there is none: this version is the first")
        return
    version, commit = found
    new, release.tag = release.tag, f"last-{release.tag}"
    with tempfile.TemporaryDirectory() as scratch:
        cluster.run("git", "archive", f"--output={scratch}/tree.tar", commit)
        with tarfile.open(f"{scratch}/tree.tar") as tar:
            tar.extractall(scratch, filter="data")
        targets = REPOSITORIES.items()
        cluster.load([cluster.image(name, release.tag, target, Path(scratch)) for name, target in targets])
        release.helm("install", "--wait", "--timeout", "180s", chart=f"{scratch}/helm/products-api")
    until("the gateway leads to it", release.answers, 30)
    admin = {"email": EMAIL, "password": PASSWORD, "role": "admin"}
    release.get("/auth/register", method="POST", json=admin).raise_for_status()
    until("the first sync is done", lambda: release.get("/products?limit=1").json()["total"] == 194, 90)

    def change() -> None:
        release.tag = new
        release.helm("upgrade", "--wait", "--timeout", "300s", timeout=330)

    under_load(release, "8 last version", f"helm upgrade from {version}", change)
    report.check("8 last version", "products of the source, each once", 194, len(set(source_ids(release))))
    report.check("8 last version", "a sync after it", "succeeded", release.ended(release.sync()))


def last_version(cluster: Cluster) -> tuple[str, str] | None:
    """Version and commit of the chart just before its version was raised to this one."""
    file = "helm/products-api/Chart.yaml"
    now = chart_version((ROOT / file).read_text("utf-8"))
    for commit in cluster.run("git", "log", "--format=%H", "--", file).split():
        then = chart_version(cluster.run("git", "show", f"{commit}^:{file}", check=False))
        if then and then != now:
            return then, f"{commit}^"
    return None


def chart_version(text: str) -> str:
    match = re.search(r"^version: (.+)$", text, re.M)
    return match[1] if match else ""
