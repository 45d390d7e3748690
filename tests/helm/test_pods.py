"""What every pod of every shape promises to the cluster, and what an operator may add to it."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from stack import services
from tests.helm.render import (
    CHART,
    DEFAULTS,
    SHAPES,
    TESTS,
    Manifest,
    containers,
    given,
    named,
    only,
    pods,
    render,
)  # fmt: skip

APIS = set(services.APIS.values())
HEADLESS = services.PROGRAMS.keys() - APIS
JOBS = {f"migrate-{service}" for service in services.SERVICES}
STORES = {"postgres", "redis"}
GIVEN = {"wait", "proxy"}
VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))["appVersion"]
EVERYTHING: dict[str, Any] = yaml.safe_load(SHAPES["03-everything"].read_text("utf-8"))["global"]
PROCESS: dict[str, Any] = EVERYTHING["process"]
COMPONENT = "app.kubernetes.io/component"

every_shape = pytest.mark.parametrize("shape", SHAPES)


def own(pod: Manifest) -> Manifest:
    """The container that we made; the others are the operator's."""
    (container,) = (it for it in containers(pod) if it["name"] not in GIVEN)
    return container


def found_by(manifests: list[Manifest], selector: dict[str, str]) -> set[str]:
    """The components of the pods that have the labels."""
    return {name for name, pod in pods(manifests).items() if selector.items() <= pod["metadata"]["labels"].items()}


def strings(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from strings(inner)


def references(node: Any) -> Iterator[tuple[str, str]]:
    """The kind and name of each ConfigMap and Secret that a pod needs."""
    kinds = {"configMapRef": "ConfigMap", "configMapKeyRef": "ConfigMap", "configMap": "ConfigMap",
             "secretRef": "Secret", "secretKeyRef": "Secret"}  # fmt: skip
    for key, inner in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if key in kinds:
            yield kinds[key], inner["name"]
        elif key == "imagePullSecrets":
            yield from (("Secret", it["name"]) for it in inner)
        else:
            yield from references(inner)


@every_shape
def test_all_meet_the_standard_restricted(shape: str) -> None:
    for component, pod in pods(render(shape)).items():
        spec, uid = pod["spec"], 999 if component in STORES else 65532
        assert spec["securityContext"] == {
            "runAsNonRoot": True, "runAsUser": uid, "runAsGroup": uid, "fsGroup": uid,
            "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
        }, component  # fmt: skip
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }, component  # fmt: skip
        assert spec["automountServiceAccountToken"] is False, component
        assert spec["enableServiceLinks"] is False, component
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert not [it for it in spec["volumes"] if "hostPath" in it]


@every_shape
def test_all_may_write_to_tmp_and_claim_what_they_need(shape: str) -> None:
    for component, pod in pods(render(shape)).items():
        mounts = {it["mountPath"]: it["name"] for it in own(pod)["volumeMounts"]}
        # A limit would restart PostgreSQL at the next upgrade, and it writes nothing there.
        limit = {} if component == "postgres" else {"sizeLimit": "64Mi"}
        assert {"name": mounts["/tmp"], "emptyDir": limit} in pod["spec"]["volumes"], component
        for amount in ("requests", "limits"):
            assert own(pod)["resources"][amount].keys() == {"cpu", "memory"}, component


def test_the_root_may_be_written_only_by_a_value() -> None:
    writable = given({"global": {"process": {"readOnlyRootFilesystem": False}}})
    for component, pod in pods(render("01-minimal", *writable)).items():
        assert own(pod)["securityContext"]["readOnlyRootFilesystem"] is (component in STORES), component


@every_shape
def test_processes_are_asked_for_their_health(shape: str) -> None:
    for component, pod in pods(render(shape)).items():
        container = own(pod)
        asked = {key: it for key, it in container.items() if key.endswith("Probe")}
        if component in APIS | HEADLESS:
            port = "http" if component in APIS else "metrics"
            paths = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/health"}
            assert {key: it["httpGet"] for key, it in asked.items()} == {
                key: {"path": path, "port": port} for key, path in paths.items()
            }, component
            # A start may wait for a database for a minute; nothing is killed for one slow answer.
            assert asked["startupProbe"]["periodSeconds"] * asked["startupProbe"]["failureThreshold"] >= 60
            assert asked["livenessProbe"]["failureThreshold"] >= 3
        elif component == "gateway":
            # While it drains it is not ready, and must not be killed for it.
            assert asked["readinessProbe"]["httpGet"] == {"path": "/health", "port": "metrics"}
            assert {asked[it]["tcpSocket"]["port"] for it in ("startupProbe", "livenessProbe")} == {"metrics"}
            assert asked["startupProbe"]["periodSeconds"] * asked["startupProbe"]["failureThreshold"] >= 60
            assert asked["livenessProbe"]["failureThreshold"] >= 3
        else:
            assert ("readinessProbe" in asked) is (component not in JOBS | TESTS), component
        # 3 is Kubernetes' default.
        assert {it.get("failureThreshold", 3) for key, it in asked.items() if key == "readinessProbe"} <= {3}, component
        named_ports = {it["name"] for it in container.get("ports", [])}
        assert {it["httpGet"]["port"] for it in asked.values() if "httpGet" in it} <= named_ports, component


@every_shape
def test_a_leaving_pod_serves_until_nobody_asks_it(shape: str) -> None:
    manifests = render(shape)
    settings = DEFAULTS["global"]["settings"] | {"DRAIN_SECONDS": 0.5 if shape == "03-everything" else 2}
    assert all(
        float(it["data"]["DRAIN_SECONDS"]) == settings["DRAIN_SECONDS"] for it in only(manifests, "ConfigMap", "auth")
    )
    for component, pod in pods(manifests).items():
        http = any(it["name"] == "http" for it in own(pod).get("ports", []))
        assert ("lifecycle" in own(pod)) is http, component
        if component in JOBS | STORES | TESTS:
            continue
        wait = own(pod)["lifecycle"]["preStop"]["sleep"]["seconds"] if http else 0
        assert pod["spec"]["terminationGracePeriodSeconds"] > wait + settings["DRAIN_SECONDS"] + 30, component


@every_shape
def test_deployments_lose_no_pod_to_a_rollout_and_few_to_a_drain(shape: str) -> None:
    manifests = render(shape)
    deployments, budgets = named(manifests, "Deployment"), named(manifests, "PodDisruptionBudget")
    assert deployments.keys() == budgets.keys() >= APIS | HEADLESS
    for component, deployment in deployments.items():
        assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        assert budgets[component]["spec"]["selector"] == deployment["spec"]["selector"]
        assert budgets[component]["spec"]["maxUnavailable"] == ("50%" if shape == "03-everything" else 1)
        (spread,) = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert spread["labelSelector"] == deployment["spec"]["selector"]


def test_budgets_and_spreading_can_be_turned_off() -> None:
    off = {"enabled": False}
    manifests = render(
        "01-minimal", *given({"global": {"process": {"podDisruptionBudget": off, "topologySpread": off}}})
    )
    assert not only(manifests, "PodDisruptionBudget")
    assert not [it for it in pods(manifests).values() if "topologySpreadConstraints" in it["spec"]]


def test_what_an_operator_adds_arrives_in_every_process() -> None:
    for component, pod in pods(render("03-everything")).items():
        if component in STORES:
            continue
        spec, container, process = pod["spec"], own(pod), component not in JOBS | TESTS
        assert all(it in container["env"] for it in PROCESS["extraEnv"]), component
        assert all(it in container["envFrom"] for it in PROCESS["extraEnvFrom"]), component
        assert all(it in container["volumeMounts"] for it in PROCESS["extraVolumeMounts"]), component
        assert all(it in spec["volumes"] for it in PROCESS["extraVolumes"]), component
        for key in ("serviceAccountName", "priorityClassName", "nodeSelector", "tolerations", "affinity"):
            assert spec[key] == PROCESS[key], component
        # A sidecar would keep a pod that shall end from ending.
        assert spec.get("initContainers", []) == (PROCESS["initContainers"] if process else []), component
        assert [it for it in spec["containers"] if it != container] == (PROCESS["extraContainers"] if process else [])
        if component not in TESTS:
            assert pod["metadata"]["labels"].items() >= (PROCESS["podLabels"] | EVERYTHING["labels"]).items()
            assert pod["metadata"]["annotations"].items() >= PROCESS["podAnnotations"].items()
    for manifest in render("03-everything"):
        assert manifest["metadata"]["labels"]["team"] == "catalog", manifest["metadata"]["name"]


def test_a_process_may_differ_from_the_rest() -> None:
    values = {"global": {"process": {"preStopSeconds": 3}}, "catalog": {"api": {"preStopSeconds": 0, "replicas": 4}}}
    manifests = render("01-minimal", *given(values))
    waits = {name: own(pod).get("lifecycle") for name, pod in pods(manifests).items() if name in APIS}
    three = {"preStop": {"sleep": {"seconds": 3}}}
    assert waits == {"auth": three, "catalog": None, "sync-api": three}
    older = own(pods(render("01-minimal", *given(values), "--kube-version=1.29.0"))["auth"])
    assert older["lifecycle"] == {"preStop": {"exec": {"command": ["sleep", "3"]}}}
    replicas = {name: it["spec"]["replicas"] for name, it in named(manifests, "Deployment").items()}
    assert replicas == dict.fromkeys(replicas, 1) | {"catalog": 4}


@pytest.mark.parametrize(
    ("shape", "image"),
    [
        ("01-minimal", f"products-api:{VERSION}"),
        ("02-production", f"registry.example/team/products-api@sha256:{'0123456789abcdef' * 4}"),
        ("03-everything", "registry.example/products-api:1.2.3"),
    ],
)
def test_the_image_is_as_the_values_say(shape: str, image: str) -> None:
    found = pods(render(shape))
    repositories = {"gateway": "products-api-gateway", "dummyjson": "products-api-dummyjson"}
    for component in found.keys() - STORES:
        assert own(found[component])["image"] == image.replace(
            "products-api", repositories.get(component, "products-api")
        )
    pulls = {str(pod["spec"].get("imagePullSecrets")) for pod in found.values()}
    assert pulls == {str(None if shape == "01-minimal" else [{"name": "registry"}])}
    policies = {it["imagePullPolicy"] for pod in found.values() for it in [own(pod)]}
    assert policies == {"Always" if shape == "03-everything" else "IfNotPresent"}


def test_digests_win_over_tags_for_bundled_servers_too() -> None:
    digest = f"sha256:{'f' * 64}"
    one = {"image": {"digest": digest}}
    found = pods(render("01-minimal", *given({"postgres": one, "redis": one, "gateway": one})))
    assert all(own(found[name])["image"].endswith(f"@{digest}") for name in ("postgres", "redis", "gateway"))
    assert own(found["auth"])["image"] == f"products-api:{VERSION}"


@every_shape
def test_every_selector_finds_exactly_its_own_pods(shape: str) -> None:
    manifests = render(shape)
    for manifest in manifests:
        spec, component = manifest.get("spec", {}), manifest["metadata"]["labels"][COMPONENT]
        own_pods = {"sync-scheduler-metrics": {"sync-scheduler"}, "test": TESTS}.get(
            component, {component.removesuffix("-pods")}
        )
        if manifest["kind"] in ("Deployment", "StatefulSet", "PodDisruptionBudget"):
            assert found_by(manifests, spec["selector"]["matchLabels"]) == own_pods
        elif manifest["kind"] == "Service":
            assert found_by(manifests, spec["selector"]) == own_pods
        elif manifest["kind"] == "NetworkPolicy" and component != "deny":
            assert found_by(manifests, spec["podSelector"]["matchLabels"]) == own_pods


@every_shape
def test_everything_that_is_named_is_there(shape: str) -> None:
    manifests = render(shape)
    found, services = pods(manifests), {it["metadata"]["name"]: it for it in only(manifests, "Service")}
    for service in services.values():
        (component,) = found_by(manifests, service["spec"]["selector"])
        opened = {it["name"] for it in own(found[component])["ports"]}
        assert {it["targetPort"] for it in service["spec"]["ports"]} <= opened, component
    for name, number in backends(manifests):
        (port,) = services[name]["spec"]["ports"]
        assert number in (port["name"], port["port"])
    assert {it["spec"]["serviceName"] for it in only(manifests, "StatefulSet")} <= services.keys()
    there = {(it["kind"], it["metadata"]["name"]) for it in manifests}
    values = set(strings(yaml.safe_load(SHAPES[shape].read_text("utf-8"))))
    missing = {it for it in references(list(found.values())) if it not in there and it[1] not in values}
    assert not missing


def backends(manifests: list[Manifest]) -> Iterator[tuple[str, Any]]:
    """The Services that routes lead to, with the port's name or number."""
    for manifest in only(manifests, "Ingress"):
        for path in (path for rule in manifest["spec"]["rules"] for path in rule["http"]["paths"]):
            yield path["backend"]["service"]["name"], path["backend"]["service"]["port"]["name"]
    for manifest in only(manifests, "HTTPRoute"):
        for backend in (backend for rule in manifest["spec"]["rules"] for backend in rule["backendRefs"]):
            yield backend["name"], backend["port"]


def test_an_environment_that_is_given_wins() -> None:
    url = {"name": "REDIS_URL", "value": "redis://elsewhere:6379/0"}
    found = pods(render("01-minimal", *given({"catalog": {"api": {"extraEnv": [url]}}})))
    assert [it for it in own(found["catalog"])["env"] if it["name"] == "REDIS_URL"] == [url]
    assert url not in own(found["auth"])["env"]


@every_shape
def test_no_name_stands_twice_in_a_list(shape: str) -> None:
    """Server-side apply, which helm 4 uses, refuses such a list."""
    for component, pod in pods(render(shape)).items():
        for key, entries in {**pod["spec"], **own(pod)}.items():
            if key in ("env", "volumes", "ports", "containers", "initContainers"):
                names = [it["name"] for it in entries]
                assert len(names) == len(set(names)), f"{component}: {key}"
