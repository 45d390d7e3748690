"""JSON schemas of the kinds that the chart renders, named as kubeconform looks for them.

`python -m tests.helm.schemas OPENAPI_V2.json CRD.yaml...` writes them anew from a cluster's `kubectl get --raw
/openapi/v2` and from CRDs as their projects publish them. Strict: a field that Kubernetes does not know is refused.
"""

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator

__all__ = ["FOLDER", "faults"]

FOLDER = Path(__file__).parent / "schemas"
KINDS = (
    ("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("batch/v1", "Job"), ("v1", "Service"), ("v1", "Pod"),
    ("v1", "ConfigMap"), ("v1", "Secret"), ("networking.k8s.io/v1", "NetworkPolicy"),
    ("networking.k8s.io/v1", "Ingress"), ("policy/v1", "PodDisruptionBudget"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"), ("gateway.networking.k8s.io/v1", "HTTPRoute"),
)  # fmt: skip


def file(api_version: str, kind: str) -> Path:
    """Where the schema of a kind lies: kind, first part of the group, version."""
    group, _, version = api_version.rpartition("/")
    return FOLDER / ("-".join(filter(None, (kind.lower(), group.partition(".")[0], version))) + ".json")


@cache
def validator(path: Path) -> Draft7Validator:
    return Draft7Validator(json.loads(path.read_text("utf-8")))


def faults(manifest: dict[str, Any]) -> list[str]:
    """What Kubernetes would not take in a manifest."""
    path = file(manifest["apiVersion"], manifest["kind"])
    return [f"{fault.json_path}: {fault.message[:200]}" for fault in validator(path).iter_errors(manifest)]


def strict(node: Any) -> Any:
    """Without prose and extensions, closed, and with the two types that OpenAPI cannot name."""
    if isinstance(node, list):
        return [strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("format") == "int-or-string" or node.get("x-kubernetes-int-or-string"):
        return {"type": ["string", "integer"]}
    kept = {
        "type",
        "format",
        "enum",
        "items",
        "required",
        "$ref",
        "additionalProperties",
        "minimum",
        "maximum",
        "pattern",
    }
    made = {key: strict(value) for key, value in node.items() if key in kept and key != "format"}
    if "properties" in node:
        made["properties"] = {name: strict(value) for name, value in node["properties"].items()}
        made.setdefault("additionalProperties", bool(node.get("x-kubernetes-preserve-unknown-fields")))
    return made


def from_openapi(document: dict[str, Any], api_version: str, kind: str) -> dict[str, Any]:
    """The schema of one kind with all that it refers to."""
    group, _, version = api_version.rpartition("/")
    wanted = {"group": group, "kind": kind, "version": version}
    definitions = document["definitions"]
    name = next(key for key, it in definitions.items() if wanted in it.get("x-kubernetes-group-version-kind", []))
    found: dict[str, Any] = {}
    waiting = [name]
    while waiting:
        if (one := waiting.pop()) in found:
            continue
        quantity = one.endswith(".resource.Quantity")
        found[one] = {"type": ["string", "number"]} if quantity else strict(definitions[one])
        waiting += [ref.rpartition("/")[2] for ref in references(found[one])]
    top: dict[str, Any] = found.pop(name)
    return top | {"definitions": found}


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [ref for value in node.values() for ref in references(value)]
    return [ref for item in node for ref in references(item)] if isinstance(node, list) else []


def from_crd(crd: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    version = next(it for it in crd["spec"]["versions"] if it["storage"])
    schema = strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"], schema


def main(openapi: str, *crds: str) -> None:
    document = json.loads(Path(openapi).read_text("utf-8"))
    schemas = [(api, kind, from_openapi(document, api, kind)) for api, kind in KINDS]
    schemas += [from_crd(yaml.safe_load(Path(crd).read_text("utf-8"))) for crd in crds]
    for api_version, kind, schema in schemas:
        text = json.dumps(schema, separators=(",", ":"), sort_keys=True)
        file(api_version, kind).write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
