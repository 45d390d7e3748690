"""The chart as helm renders it, each shape once."""

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

__all__ = [
    "CHART",
    "DEFAULTS",
    "SHAPES",
    "TESTS",
    "component",
    "containers",
    "given",
    "helm",
    "named",
    "notes",
    "only",
    "pods",
    "refusal",
    "render",
    "template",
]

CHART = Path(__file__).parents[2] / "helm/products-api"
SHAPES = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*.yaml"))}
DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
# The pods of `helm test`, one for each promise.
TESTS = {"test-health", "test-login", "test-products", "test-sync"}
CAPABILITIES = ("keda.sh/v1alpha1", "monitoring.coreos.com/v1")
Manifest = dict[str, Any]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One call of helm without a cluster."""
    command = [shutil.which("helm") or "helm", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def given(values: dict[str, Any]) -> tuple[str, str]:
    """The arguments that set values."""
    return "--set-json", json.dumps(values)


def template(
    shape: str, *arguments: str, capabilities: tuple[str, ...] = CAPABILITIES
) -> subprocess.CompletedProcess[str]:
    versions = [f"--api-versions={name}" for name in capabilities]
    return helm("template", "shop", str(CHART), "-n", "products", "-f", str(SHAPES[shape]), *versions, *arguments)


@cache
def render(shape: str = "01-minimal", *arguments: str, capabilities: tuple[str, ...] = CAPABILITIES) -> list[Manifest]:
    """All objects of a shape, with more arguments such as `--set`."""
    done = template(shape, *arguments, capabilities=capabilities)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.load_all(done.stdout, yaml.CSafeLoader) if manifest]


def refusal(shape: str, *arguments: str, capabilities: tuple[str, ...] = CAPABILITIES) -> str:
    """What helm says instead of rendering."""
    done = template(shape, *arguments, capabilities=capabilities)
    assert done.returncode != 0, "it was rendered"
    return done.stderr


@cache
def notes(shape: str, *arguments: str) -> str:
    """What the operator reads after `helm install`; no capability can be given here."""
    done = helm(
        "install", "shop", str(CHART), "-n", "products", "-f", str(SHAPES[shape]), "--dry-run=client", *arguments
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


def only(manifests: list[Manifest], kind: str, name: str = "") -> list[Manifest]:
    return [it for it in manifests if it["kind"] == kind and it["metadata"]["name"].endswith(name)]


def named(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    """The objects of a kind by their component."""
    return {component(it): it for it in only(manifests, kind)}


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Every pod that would run, with `metadata` and `spec`: by its component, those of `helm test` by their names."""
    templates = [it["spec"]["template"] for it in manifests if it["kind"] in ("Deployment", "StatefulSet", "Job")]
    found = {component(it): it for it in templates}
    return found | {f"test-{it['metadata']['name'].rpartition('-test-')[2]}": it for it in only(manifests, "Pod")}


def component(manifest: Manifest) -> str:
    name: str = manifest["metadata"]["labels"]["app.kubernetes.io/component"]
    return name


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
