"""The release under test: its images, its values, its way in."""

import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.k8s.cluster import CHART, ROOT, Cluster, Failed, until
from tests.k8s.load import Load, login
from tests.k8s.report import Report

__all__ = ["APIS", "BLOCKS", "DEPLOYMENTS", "REPOSITORIES", "Release", "build_images"]

APIS = ("auth", "catalog", "sync-api")
DEPLOYMENTS = (*APIS, "worker", "scheduler", "gateway", "provider")
REPOSITORIES = {"products-api": "service", "products-api-gateway": "gateway", "products-api-provider": "provider"}
BLOCKS = dict(re.findall(r"<!-- block: (\w+) -->\n```sh\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL))
MIGRATION = '''"""Something more, as every release brings."""

import sqlalchemy as sa
from alembic import op

revision = "{new:04d}"
down_revision = "{old:04d}"


def upgrade() -> None:
    op.add_column("{table}", sa.Column("test_note", sa.Text), schema="{schema}")


def downgrade() -> None:
    op.drop_column("{table}", "test_note", schema="{schema}")
'''
TABLES = {"auth": "users", "catalog": "products", "sync": "runs"}


@dataclass
class Release:
    """One installation of the chart, with hosts of its own at the cluster's gateway."""

    cluster: Cluster
    report: Report
    namespace: str
    tag: str
    name: str = "shop"
    replicas: int = 2
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """Of the Ingress."""
        return f"{self.namespace}.test"

    @property
    def route_host(self) -> str:
        """Of the HTTPRoute."""
        return f"route.{self.namespace}.test"

    def helm(self, verb: str, *more: str, timeout: float = 240, chart: str = CHART, **values: Any) -> str:
        """`helm install` or `upgrade` with the chart and all values; `values` win."""
        gateway, gateway_namespace = self.cluster.gateway()
        # Many pods start at once in an upgrade. On a small node they must leave something for the cluster's gateway,
        # which often asks for no CPU, and then gets next to none beside pods that do.
        api, other, store = modest("1m", "200m"), modest("1m", "75m"), modest("50m", "1")
        one = {"replicas": 1, **other}
        everything: dict[str, Any] = {
            "global": {
                "image": {"tag": self.tag},
                "settings": {"APP_ENV": "local"},
                "process": {"replicas": self.replicas} | api,
            },
            "auth": {"settings": {"ADMIN_REGISTRATION": "first"}, "api": api},
            "sync": {"worker": one, "scheduler": one, "provider": {"enabled": True, "process": one}},
            "gateway": {"process": one},
            "postgres": store,
            "redis": store,
            "ingress": {"enabled": True, "hosts": [self.host]},
            "httpRoute": {
                "enabled": True,
                "parentRefs": [{"name": gateway, "namespace": gateway_namespace}],
                "hostnames": [self.route_host],
            },
            "networkPolicy": {
                "gateways": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": gateway_namespace}}}]
            },
        }
        everything = merged(everything, merged(self.values, values))
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(everything, file)
            file.flush()
            command = [verb, self.name, chart, "-n", self.namespace, "-f", file.name, *more]
            return self.cluster.helm(*command, timeout=timeout)

    def object(self, kind: str, component: str) -> str:
        return f"{kind}/{self.name}-{component}"

    def get(self, path: str, host: str = "", **more: Any) -> httpx.Response:
        """One request through the cluster's gateway."""
        headers = {"Host": host or self.host} | more.pop("headers", {})
        return httpx.request(
            more.pop("method", "GET"), self.cluster.gateway_url + path, headers=headers, timeout=10, **more
        )

    def answers(self, host: str = "") -> bool:
        """Whether the gateway leads to all three services."""
        return all(self.get(path, host).status_code == 200 for path in ("/auth/health", "/health", "/sync/health"))

    def sync(self) -> str:
        """Trigger a sync; the path of its run."""
        return str(self.get("/sync/trigger", method="POST", headers=self.admin()).json()["status_url"])

    def ended(self, path: str) -> str:
        """How a run ended, once it has."""
        headers = self.admin()

        def state() -> str:
            answer = self.get(path, headers=headers)
            found = str(answer.json()["state"]) if answer.status_code == 200 else ""
            return "" if found in ("queued", "running") else found

        return until("the sync ends", state, 90)

    def admin(self) -> dict[str, str]:
        """Headers of the tour's admin."""
        return {"Authorization": f"Bearer {self.token()}"}

    def token(self) -> str:
        """A token of the tour's admin, as soon as there is one."""
        return until("an admin can log in", lambda: login(self.cluster.gateway_url, self.host))

    def load(self, rate: float = 100.0) -> Load:
        """Mixed requests by the tour's admin, through the Ingress."""
        return Load(self.cluster.gateway_url, self.host, self.token(), rate)

    def tour(self, host: str) -> str:
        """The README's tour as it stands there, through the gateway under `host`; its output."""
        with tempfile.TemporaryDirectory() as home:
            Path(home, ".curlrc").write_text(f'header = "Host: {host}"\n', "utf-8")
            script = BLOCKS["tour"].replace("http://localhost:8000", self.cluster.gateway_url)
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script],
                env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": home, "CURL_HOME": home},
                capture_output=True, text=True, timeout=90, check=False,
            )  # fmt: skip
        if done.returncode:
            raise Failed(f"the tour ended with {done.returncode}: {done.stderr[-500:]}")
        return done.stdout


def modest(request: str, limit: str) -> dict[str, Any]:
    """The CPU of a process: what it has a claim to, and what it uses at most."""
    return {"resources": {"requests": {"cpu": request}, "limits": {"cpu": limit}}}


def merged(values: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """One tree of values laid over another."""
    both = {key: merged(values[key], over[key]) for key in values.keys() & over.keys() if isinstance(over[key], dict)}
    return values | over | both


def build_images(cluster: Cluster, first: str, second: str) -> list[str]:
    """All images with the tag `first`; the services' once more as `second`, with a migration more in each of them."""
    images = [cluster.image(repository, first, target) for repository, target in REPOSITORIES.items()]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "tree"
        listed = cluster.run("git", "ls-files", "-z").split("\0")
        for name in filter(None, listed):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_file():
                shutil.copy2(ROOT / name, folder / name)
        for service, table in TABLES.items():
            versions = folder / f"services/{service}/src/{service}/migrations/versions"
            old = max(int(path.name[:4]) for path in versions.glob("[0-9]*.py"))
            text = MIGRATION.format(new=old + 1, old=old, table=table, schema=service)
            (versions / f"{old + 1:04d}_note.py").write_text(text, "utf-8")
        images.append(cluster.image("products-api", second, "service", folder))
    for repository in ("products-api-gateway", "products-api-provider"):
        cluster.run("docker", "tag", f"{repository}:{first}", f"{repository}:{second}")
        images.append(f"{repository}:{second}")
    return images
