"""The chart as helm renders it, each shape once."""

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

__all__ = ["CHART", "SHAPES", "containers", "helm", "only", "pods", "render"]

CHART = Path(__file__).parents[2] / "helm/products-api"
SHAPES = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*.yaml"))}
CAPABILITIES = ("keda.sh/v1alpha1", "monitoring.coreos.com/v1")
Manifest = dict[str, Any]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One call of helm without a cluster."""
    command = [shutil.which("helm") or "helm", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@cache
def render(shape: str = "01-minimal", *arguments: str, capabilities: tuple[str, ...] = CAPABILITIES) -> list[Manifest]:
    """All objects of a shape, with more arguments such as `--set`."""
    versions = [f"--api-versions={name}" for name in capabilities]
    done = helm("template", "shop", str(CHART), "-n", "products", "-f", str(SHAPES[shape]), *versions, *arguments)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def only(manifests: list[Manifest], kind: str, name: str = "") -> list[Manifest]:
    return [it for it in manifests if it["kind"] == kind and it["metadata"]["name"].endswith(name)]


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Every pod that would run, by its component, each with `metadata` and `spec`."""
    found = {}
    for manifest in manifests:
        pod = manifest if manifest["kind"] == "Pod" else manifest["spec"].get("template") if "spec" in manifest else None
        if manifest["kind"] in ("Deployment", "StatefulSet", "Job", "Pod") and pod:
            found[pod["metadata"]["labels"]["app.kubernetes.io/component"]] = pod
    return found


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
