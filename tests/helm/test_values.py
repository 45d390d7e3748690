"""Values are a closed world: what is mistyped, of a wrong type or in contradiction is refused, with its path."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from stack.services import SERVICES
from tests.helm.render import CHART, DEFAULTS, SHAPES, given, helm, refusal
from tools.chart import described
from tools.chart import values as documented

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text("utf-8"))
CHECK = Draft7Validator(SCHEMA)
DOCUMENTS = {"values": DEFAULTS} | {name: yaml.safe_load(path.read_text("utf-8")) for name, path in SHAPES.items()}
# Maps whose keys are the operator's, and parts of pods, which the API server checks.
FREE = {
    "labels", "annotations", "nodeSelector", "podLabels", "podAnnotations", "matchLabels", "extraVolumes",
    "initContainers", "extraContainers", "nodeAffinity", "fieldRef", "configMapRef", "scaleDown",
}  # fmt: skip
Path = tuple[str | int, ...]

every_document = pytest.mark.parametrize("name", DOCUMENTS)


def walk(node: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Everything that the chart itself must know."""
    yield path, node
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        if key not in FREE:
            yield from walk(value, (*path, key))


def told(document: Any, path: Path, value: Any) -> list[Path]:
    """The places of faults with another value at a path."""
    changed = deepcopy(document)
    if not path:
        return [tuple(fault.absolute_path) for fault in CHECK.iter_errors(value)]
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return [tuple(fault.absolute_path) for fault in CHECK.iter_errors(changed)]


@every_document
def test_the_schema_takes_what_we_ship(name: str) -> None:
    assert not [fault.json_path for fault in CHECK.iter_errors(DOCUMENTS[name])]


@every_document
def test_an_unknown_key_is_refused_in_every_mapping(name: str) -> None:
    mappings = [path for path, node in walk(DOCUMENTS[name]) if isinstance(node, dict)]
    assert mappings
    document = DOCUMENTS[name]
    nodes = dict(walk(document))
    deaf = [path for path in mappings if path not in told(document, path, nodes[path] | {"mistyped": {}})]
    assert not deaf


@every_document
def test_a_wrong_type_is_refused_at_every_place(name: str) -> None:
    document = DOCUMENTS[name]
    deaf = []
    for path, node in walk(document):
        wrong: Any = "text" if isinstance(node, dict) else {}
        if path not in told(document, path, wrong):
            deaf.append(path)
    assert not deaf


def test_the_schema_knows_nothing_that_is_not_in_the_values() -> None:
    assert not list(undocumented(SCHEMA, DEFAULTS))


def undocumented(schema: dict[str, Any], node: Any, *path: str) -> Iterator[str]:
    # A process says only how it differs from global.process; what an empty map may hold, its comment says.
    if node == {} or (schema.get("$ref", "").endswith(("/process", "/worker")) and path != ("global", "process")):
        return
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    for key, inner in schema.get("properties", {}).items():
        # helm gave the global values to every subchart, and each subchart a place of its own.
        if key in ("global", "service") and key not in node:
            continue
        if key not in node:
            yield ".".join((*path, key))
        else:
            yield from undocumented(inner, node[key], *path, key)


def description(node: dict[str, Any]) -> str:
    """Of a property, or of what its $ref points to."""
    while "description" not in node and "$ref" in node:
        reference, node = node["$ref"], SCHEMA
        for key in reference.removeprefix("#/").split("/"):
            node = node[key]
    return str(node.get("description", ""))


def properties(node: Any, path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """All properties of the schema and its definitions."""
    for key, inner in node.items() if isinstance(node, dict) else ():
        if key == "properties":
            yield from (((*path, name), it) for name, it in inner.items())
        yield from properties(inner, (*path, key))


def test_every_property_is_described() -> None:
    found = list(properties(SCHEMA))
    assert len(found) > 200
    assert not [path for path, node in found if not description(node)]


def test_the_descriptions_are_those_of_the_comments() -> None:
    schema = (CHART / "values.schema.json").read_text("utf-8")
    assert described(schema, (CHART / "values.yaml").read_text("utf-8")) == schema, "run: make chart"
    # A value that has a place of its own has its own words.
    by_service = [SCHEMA["properties"][name]["properties"]["database"] for name in SERVICES]
    assert len({it["properties"]["url"]["description"] for it in by_service}) == len(SERVICES)


def test_a_service_that_the_schema_does_not_know_is_added_to_it() -> None:
    text = (CHART / "values.yaml").read_text("utf-8")
    others = {name: node for name, node in SCHEMA["properties"].items() if name != "catalog"}
    added = json.loads(described(json.dumps(SCHEMA | {"properties": others}), text))["properties"]["catalog"]
    whole = SCHEMA["properties"]["catalog"]
    kept = {name: node for name, node in whole["properties"].items() if name != "global"}
    assert added == whole | {"properties": kept}


def test_values_that_an_upgrade_takes_over_from_subcharts_are_accepted() -> None:
    """`--reuse-values` merges the old chart's values into them, and helm gave each subchart a place of its own."""
    helped: dict[str, Any] = {name: {"global": DEFAULTS["global"]} for name in ("auth", "catalog", "sync", "service")}
    old = json.loads(json.dumps(DEFAULTS["global"]))
    del old["configRevision"]
    done = helm("template", "shop", str(CHART), *given(helped | {"global": old | {"configRevision": None}}))
    assert done.returncode == 0, done.stderr


def test_every_value_has_a_comment() -> None:
    assert len(list(documented((CHART / "values.yaml").read_text("utf-8")))) > 100
    with pytest.raises(ValueError, match=r"values.yaml:4: global.labels has no comment"):
        list(documented("global:\n  # Said.\n  name: shop\n  labels: {}\n"))


MISTYPED: dict[str, tuple[dict[str, Any], str]] = {
    "at the top": ({"catalogue": {"enabled": False}}, "at '': additional properties 'catalogue'"),
    "global": ({"global": {"imagePullSecret": []}}, "at '/global': additional properties 'imagePullSecret'"),
    "service": ({"sync": {"wroker": {}}}, "at '/sync': additional properties 'wroker'"),
    "process": ({"auth": {"api": {"replica": 2}}}, "at '/auth/api': additional properties 'replica'"),
    "setting": ({"sync": {"settings": {"SYNC_INTERVAL": 5}}}, "/sync/settings': additional properties 'SYNC_INTERVAL'"),
    "nested": (
        {"catalog": {"api": {"resources": {"limit": {}}}}},
        "at '/catalog/api/resources': additional properties 'limit'",
    ),
    "list": ({"ingress": {"tls": [{"secret": "x"}]}}, "at '/ingress/tls/0': additional properties 'secret'"),
    "policy": ({"networkPolicy": {"gateway": []}}, "at '/networkPolicy': additional properties 'gateway'"),
    "type": ({"sync": {"settings": {"SYNC_INTERVAL_MINUTES": "often"}}}, "/SYNC_INTERVAL_MINUTES': got string, want"),
    "earlier setting": (
        {"global": {"settings": {"FORWARDED_ALLOW_IPS": "10.0.0.0/8"}}},
        "/global/settings': additional properties 'FORWARDED_ALLOW_IPS'",
    ),
    "range": ({"global": {"settings": {"DB_POOL_SIZE": 0}}}, "at '/global/settings/DB_POOL_SIZE': minimum"),
    "own secret": (
        {"auth": {"settingsFrom": {"DATABASE_URL": {"name": "x", "key": "y"}}}},
        "at '/auth/settingsFrom/DATABASE_URL': false schema",
    ),
    "own label": (
        {"global": {"labels": {"app.kubernetes.io/name": "x"}}},
        "at '/global/labels/app.kubernetes.io~1name': false schema",
    ),
}


@pytest.mark.parametrize(
    "command", [("lint",), ("template", "shop"), ("install", "shop", "--dry-run=client")], ids=" ".join
)
def test_helm_refuses_with_every_path(command: tuple[str, ...]) -> None:
    every = (argument for values, _ in MISTYPED.values() for argument in given(values))
    done = helm(*command, str(CHART), *every)
    assert done.returncode != 0
    assert not [case for case, (_, message) in MISTYPED.items() if message not in done.stdout + done.stderr]


SECRET = {"existingSecret": "given"}
GATEWAYS = {"gateways": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}]}
# What contradicts what, and the beginning of the line that says so.
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no database": (
        {"postgres": {"enabled": False}, "auth": {"database": SECRET}, "catalog": {"database": SECRET}},
        "sync.database: PostgreSQL is not bundled (postgres.enabled=false), so give sync.database.existingSecret",
    ),
    "no redis": ({"redis": {"enabled": False}}, "global.redis: Redis is not bundled (redis.enabled=false), so give"),
    "unused secret": (
        {"auth": {"database": SECRET | {"url": "postgresql://auth_svc:p@db/products"}}},
        "auth.database.url: the password of auth.database.existingSecret goes where $(DATABASE_PASSWORD) stands",
    ),
    "missing secret": (
        {"global": {"redis": {"url": "redis://:$(REDIS_PASSWORD)@cache"}}},
        "global.redis.existingSecret: name the Secret whose password goes where $(REDIS_PASSWORD) stands",
    ),
    "no gateways": ({"ingress": {"enabled": True}}, "networkPolicy.gateways: name the pods of your Ingress controller"),
    "admin": (
        {"auth": {"settings": {"ADMIN_REGISTRATION": "first"}}},
        "auth.settings.ADMIN_REGISTRATION: production allows only never",
    ),
    "faults": ({"global": {"settings": {"FAULTS": "error=1"}}}, "global.settings.FAULTS: production allows none; set"),
    "no auth": ({"auth": {"enabled": False}}, "auth.enabled=false: then catalog.settings.AUTH_URL and"),
    "no catalog": ({"catalog": {"enabled": False}}, "catalog.enabled=false: then sync.settings.CATALOG_URL must"),
    "no parents": (
        {"httpRoute": {"enabled": True}, "networkPolicy": GATEWAYS},
        "httpRoute.parentRefs: name the Gateways that shall serve it",
    ),
    "no KEDA": (
        {"sync": {"worker": {"autoscaling": {"enabled": True}}}},
        "sync.worker.autoscaling.by is keda, but this cluster does not know keda.sh/v1alpha1: install KEDA first",
    ),
    "grace": (
        {"auth": {"api": {"preStopSeconds": 13}}},
        "auth.api.terminationGracePeriodSeconds: 45 s would cut requests off, it must be more than preStopSeconds + "
        "DRAIN_SECONDS + 30 = 45",
    ),
    "range": (
        {"catalog": {"api": {"autoscaling": {"enabled": True, "minReplicas": 7}}}},
        "catalog.api.autoscaling: minReplicas 7 is more than maxReplicas 6",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_contradiction_is_told_with_what_to_do(case: str) -> None:
    values, message = FAULTS[case]
    said = refusal("01-minimal", *given(values), capabilities=())
    assert "\n1 of the values cannot work:\n" in said
    assert f"\n- {message}" in said


def test_all_contradictions_are_told_at_once() -> None:
    every = (argument for values, _ in FAULTS.values() for argument in given(values))
    said = refusal("01-minimal", *every, capabilities=())
    # Each of these two is mended by what another case gives.
    assert {case for case, (_, message) in FAULTS.items() if f"\n- {message}" not in said} == {
        "no redis",
        "no gateways",
    }


def test_every_contradiction_that_the_chart_knows_is_tried() -> None:
    assert len(FAULTS) == (CHART / "templates/validate.yaml").read_text("utf-8").count("append $faults")


def test_an_open_gateway_needs_to_know_who_may_come() -> None:
    assert "networkPolicy.gateways" in refusal("01-minimal", "--set", "gateway.service.type=NodePort")
