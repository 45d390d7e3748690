"""A release with PostgreSQL and Redis of its own choice, beside another release."""

import json
from typing import Any

from tests.deploy.commands import ROOT, until
from tests.deploy.k8s.cluster import Cluster
from tests.deploy.k8s.release import Release
from tests.deploy.readme import check_tour

__all__ = ["external_servers"]

PART = "external-servers"
SECRET = "Kq7wXo2ZrM9tBvY4sHn6JdP1fGc8LeUa"
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


def external_servers(release: Release, elsewhere: str) -> None:
    """A second release, with PostgreSQL and Redis of its own choice in another namespace, given by Secrets."""
    cluster, report = release.cluster, release.report
    serve(cluster, elsewhere)
    urls = {
        service: f"postgresql://{service}_svc:{SECRET}@postgres.{elsewhere}:5432/products"
        for service in ("auth", "catalog", "sync")
    }
    for service, url in urls.items():
        cluster.secret(release.namespace, f"{service}-database", DATABASE_URL=url)
    cluster.secret(release.namespace, "cache", REDIS_URL=f"redis://:{SECRET}@redis.{elsewhere}:6379/0")
    cluster.secret(release.namespace, "own", SECRET_KEY=SECRET * 2, SYNC_CLIENT_SECRET=SECRET[::-1] * 2)
    release.values = {
        "global": {"existingSecret": "own", "redis": {"existingSecret": "cache"}},
        **{service: {"database": {"existingSecret": f"{service}-database"}} for service in urls},
        "postgres": {"enabled": False},
        "redis": {"enabled": False},
    }
    release.helm("install", "--wait", "--timeout", "180s")
    report.check(PART, "pods of bundled servers", [], bundled(release))
    client, route_client = release.client, release.route_client
    until("Ingress and HTTPRoute lead to it", lambda: client.healthy() and route_client.healthy(), 30)
    until("the first sync is done", lambda: client.total() == 194, 90)
    check_tour(report, PART, route_client, "HTTPRoute, external servers")


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
        cluster.apply(namespace, text)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod", "--all", "--timeout=90s")
