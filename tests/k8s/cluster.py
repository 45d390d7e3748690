"""kubectl, helm and docker as they are found on PATH, and namespaces that go when the run ends."""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

__all__ = ["CHART", "ROOT", "Cluster", "Failed", "until"]

ROOT = Path(__file__).parents[2]
CHART = str(ROOT / "helm/products-api")
T = TypeVar("T")


class Failed(Exception):
    """A command or a wait that did not come to its end."""


def until(what: str, condition: Callable[[], T], seconds: float = 60) -> T:
    """Look often until `condition` gives something true; a broken connection is not yet. Failed after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(httpx.HTTPError):
            if value := condition():
                return value
        time.sleep(0.2)
    raise Failed(f"{what}: not within {seconds:g} s")


@dataclass
class Cluster:
    """The cluster of KUBECONFIG, and what the environment says about its gateway."""

    name: str = field(default_factory=lambda: f"products-test-{os.getpid()}")
    gateway_url: str = field(default_factory=lambda: os.environ.get("GATEWAY_URL", "http://127.0.0.1:30080"))
    image_load: str = field(default_factory=lambda: os.environ.get("IMAGE_LOAD", "kind load docker-image"))
    namespaces: list[str] = field(default_factory=list)

    def run(self, *command: str, stdin: str | None = None, timeout: float = 120, check: bool = True) -> str:
        """Standard output; raises Failed with what the command said."""
        try:
            done = subprocess.run(
                command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False, cwd=ROOT
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"{shlex.join(command)[:200]}: not done within {timeout:g} s") from None
        if check and done.returncode:
            raise Failed(f"{shlex.join(command)[:200]}: {(done.stderr or done.stdout).strip()[-1500:]}")
        return done.stdout

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 120, check: bool = True) -> str:
        return self.run("kubectl", *arguments, stdin=stdin, timeout=timeout, check=check)

    def get(self, namespace: str, *what: str) -> list[dict[str, Any]]:
        """Objects as Kubernetes tells them."""
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
        """All that helm says, warnings of the API server included."""
        return self.run("sh", "-c", 'exec "$@" 2>&1', "sh", "helm", *arguments, timeout=timeout)

    def image(self, repository: str, tag: str, target: str, folder: Path = ROOT) -> str:
        """Build one image of the Dockerfile."""
        name = f"{repository}:{tag}"
        command = ["docker", "build", "--quiet", "--file", f"{folder}/deploy/Dockerfile", "--target", target]
        self.run(*command, "--build-arg", f"VERSION={tag}", "--tag", name, str(folder), timeout=600)
        return name

    def load(self, images: Sequence[str]) -> None:
        """Bring images to the nodes, by IMAGE_LOAD."""
        self.run(*shlex.split(self.image_load), *images, timeout=300)

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
