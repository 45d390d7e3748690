"""kubectl and helm as they are found on PATH, and namespaces that go when the run ends."""

import base64
import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.deploy.commands import ROOT, Failed, run

__all__ = ["CHART", "Cluster"]

CHART = str(ROOT / "helm/products-api")


@dataclass
class Cluster:
    """The cluster of KUBECONFIG, and what the environment says about its gateway."""

    name: str = field(default_factory=lambda: f"products-test-{os.getpid()}")
    gateway_url: str = field(default_factory=lambda: os.environ.get("GATEWAY_URL", "http://127.0.0.1:30080"))
    image_load: str = field(default_factory=lambda: os.environ.get("IMAGE_LOAD", "kind load docker-image"))
    namespaces: list[str] = field(default_factory=list)

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 120, check: bool = True) -> str:
        return run("kubectl", *arguments, stdin=stdin, timeout=timeout, check=check)

    def get(self, namespace: str, *what: str) -> list[dict[str, Any]]:
        """Objects as Kubernetes describes them."""
        found = json.loads(self.kubectl("get", "-n", namespace, *what, "-o", "json"))
        items: list[dict[str, Any]] = found.get("items", [found])
        return items

    def pods(self, namespace: str, component: str = "") -> list[dict[str, Any]]:
        """Pods that are not going, of one component or all."""
        chosen = f"app.kubernetes.io/component={component}" if component else "app.kubernetes.io/name=products-api"
        return [pod for pod in self.get(namespace, "pods", "-l", chosen) if "deletionTimestamp" not in pod["metadata"]]

    def restarts(self, namespace: str) -> dict[str, int]:
        """Containers that were restarted."""
        counts = {
            pod["metadata"]["name"]: sum(it["restartCount"] for it in pod["status"].get("containerStatuses", []))
            for pod in self.pods(namespace)
        }
        return {name: count for name, count in counts.items() if count}

    def rolled_out(self, namespace: str, *names: str, seconds: float = 180) -> None:
        for name in names:
            self.kubectl("rollout", "status", "-n", namespace, name, f"--timeout={seconds:g}s", timeout=seconds + 20)

    def namespace(self, suffix: str, level: str = "restricted") -> str:
        """A new namespace, where pods must meet the Pod Security Standard `level`."""
        name = f"{self.name}-{suffix}"
        self.namespaces.append(name)
        self.kubectl("create", "namespace", name)
        labels = [f"pod-security.kubernetes.io/{mode}={level}" for mode in ("enforce", "warn")]
        self.kubectl("label", "namespace", name, *labels)
        return name

    def helm(self, *arguments: str, timeout: float = 240) -> str:
        """All that helm prints, warnings of the API server included."""
        return run("sh", "-c", 'exec "$@" 2>&1', "sh", "helm", *arguments, timeout=timeout)

    def apply(self, namespace: str, manifest: str) -> None:
        self.kubectl("apply", "-n", namespace, "-f", "-", stdin=manifest)

    def secret(self, namespace: str, name: str, **data: str) -> None:
        """Create or change a Secret."""
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}
        self.apply(namespace, json.dumps(manifest))

    def load(self, images: Sequence[str]) -> None:
        """Bring images to the nodes, by IMAGE_LOAD."""
        run(*shlex.split(self.image_load), *images, timeout=300)

    def gateway(self) -> tuple[str, str]:
        """Name and namespace of the Gateway for HTTPRoutes: GATEWAY=namespace/name, or the first there is."""
        if given := os.environ.get("GATEWAY"):
            namespace, _, name = given.partition("/")
            return name, namespace
        found = json.loads(self.kubectl("get", "gateways", "-A", "-o", "json", check=False) or '{"items": []}')["items"]
        if not found:
            raise Failed("there is no Gateway; name one with GATEWAY=namespace/name")
        return found[0]["metadata"]["name"], found[0]["metadata"]["namespace"]

    def clean(self) -> None:
        """Delete what this run made, and wait until it is gone."""
        if self.namespaces:
            self.kubectl("delete", "namespace", *self.namespaces, "--ignore-not-found", timeout=180, check=False)
