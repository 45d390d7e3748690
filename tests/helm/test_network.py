"""NetworkPolicies, written out: everything is denied but the real ways, and both ends of a way agree."""

import re
from ipaddress import ip_address, ip_network
from itertools import product
from typing import Any

import pytest
import yaml

from stack import services
from tests.helm.render import CHART, SHAPES, Manifest, component, given, named, only, pods, render
from tests.helm.schemas import faults
from tools.chart import values as documented

INSTANCE = {"app.kubernetes.io/name": "products-api", "app.kubernetes.io/instance": "shop"}
Way = tuple[str, str, str]

APIS = tuple(services.APIS.values())
PROCESSES = tuple(services.PROGRAMS)
SCRAPED = (*PROCESSES, "gateway")
JOBS = tuple(f"migrate-{service}" for service in services.SERVICES)
OURS = {*PROCESSES, *JOBS, "test", "gateway", "dummyjson", "postgres", "redis"}
OUTSIDE = ("0.0.0.0/0", "::/0")


def ways(sources: tuple[str, ...], targets: tuple[str, ...], *ports: int | str) -> set[Way]:
    return {(source, target, str(port)) for source, target, port in product(sources, targets, ports)}


# What all shapes with all services have.
ALWAYS = (
    ways(("test",), APIS, 8000)
    | ways(tuple(it for it in PROCESSES if it != "auth"), ("auth",), 8000)
    | ways(("sync-api", "sync-worker"), ("catalog",), 8000)
    | ways(("monitoring",), PROCESSES, 9100)
    | ways((*PROCESSES, *JOBS, "test"), ("kube-system",), 53, "53/UDP")
)
GATEWAY = (
    ways(("gateway",), APIS, 8000)
    | ways(("gateway",), ("kube-system",), 53, "53/UDP")
    | ways(("monitoring",), ("gateway",), 9100)
)
BUNDLED = ways((*PROCESSES, *JOBS, "test"), ("postgres",), 5432) | ways(PROCESSES, ("redis",), 6379)
WORLD = ways(("sync-api", "sync-worker"), OUTSIDE, 80, 443)
EXPECTED = {
    "01-minimal": ALWAYS | GATEWAY | BUNDLED | WORLD,
    "02-production": ALWAYS
    | WORLD
    | ways(("traefik/traefik",), APIS, 8000)
    | ways((*PROCESSES, *JOBS, "test"), ("10.20.0.0/24",), 5432)
    | ways(PROCESSES, ("10.20.1.0/24",), 6380),
    "03-everything": ALWAYS
    | GATEWAY
    | BUNDLED
    | ways(("sync-api", "sync-worker"), (*OUTSIDE, "10.30.0.0/24"), 443)
    | ways(("ingress/traefik",), (*APIS, "gateway"), 8000)
    | ways(("sync-api", "sync-worker"), ("dummyjson",), 8080)
    | ways(("keda",), ("sync-scheduler",), 9100)
    | ways(SCRAPED, ("monitoring",), 4318),
    "05-replicas": ALWAYS | GATEWAY | BUNDLED | WORLD,
}


def peer(it: dict[str, Any]) -> str:
    """A pod of ours by its component, others by their namespace or labels, networks by their address."""
    if "ipBlock" in it:
        return str(it["ipBlock"]["cidr"])
    labels = it.get("podSelector", {}).get("matchLabels", {})
    if "namespaceSelector" in it:
        namespace = it["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        return "/".join(filter(None, (namespace, labels.get("app.kubernetes.io/name", ""))))
    return str(labels["app.kubernetes.io/component"] if labels.items() >= INSTANCE.items() else labels)


def deployed(manifests: list[Manifest]) -> set[str]:
    return {component(pod) for pod in pods(manifests).values()}


def allowed(manifests: list[Manifest], direction: str) -> set[Way]:
    """All ways by the rules of one direction; who is not named is anyone. A peer that is not deployed has no way."""
    found = set()
    for name, policy in named(manifests, "NetworkPolicy").items():
        for rule in policy["spec"].get(direction, []):
            key = "from" if direction == "ingress" else "to"
            others = tuple(map(peer, rule[key])) if key in rule else ("anyone",)
            ports = [f"{it['port']}{'' if it['protocol'] == 'TCP' else '/' + it['protocol']}" for it in rule["ports"]]
            ends = (others, (name,)) if direction == "ingress" else ((name,), others)
            found |= ways(*ends, *ports)
    absent = OURS - deployed(manifests)
    return {way for way in found if not absent & {*way}}


@pytest.mark.parametrize("shape", EXPECTED)
def test_the_ways_are_the_real_ones(shape: str) -> None:
    manifests = render(shape)
    assert allowed(manifests, "ingress") | allowed(manifests, "egress") == EXPECTED[shape]


@pytest.mark.parametrize("shape", SHAPES)
def test_both_ends_of_a_way_agree(shape: str) -> None:
    manifests = render(shape)
    ours = deployed(manifests)
    ends = [{it for it in allowed(manifests, way) if {it[0], it[1]} <= ours} for way in ("ingress", "egress")]
    assert ends[0] == ends[1] != set()


@pytest.mark.parametrize("shape", SHAPES)
def test_everything_else_is_denied_to_every_pod(shape: str) -> None:
    manifests = render(shape)
    policies = named(manifests, "NetworkPolicy")
    deny = policies.pop("deny")["spec"]
    assert deny == {"podSelector": {"matchLabels": INSTANCE}, "policyTypes": ["Ingress", "Egress"]}
    assert all(pod["metadata"]["labels"].items() >= INSTANCE.items() for pod in pods(manifests).values())
    assert policies.keys() == deployed(manifests)
    assert {tuple(it["spec"]["policyTypes"]) for it in policies.values()} == {("Ingress", "Egress")}


PEERS = [
    (value.path, yaml.safe_load(example))
    for value in documented((CHART / "values.yaml").read_text("utf-8"))
    if value.path.startswith("networkPolicy.")
    for example in re.findall(r"\[\{.*?\}\](?=[ ,.]|$)", value.meaning)
]


def test_peers_are_shown_for_all_that_may_be_elsewhere() -> None:
    elsewhere = {f"{name}.peers" for name in ("auth", "catalog", "postgres", "redis", "tracing", "external")}
    assert {path for path, _ in PEERS} == {f"networkPolicy.{name}" for name in ("gateways", *elsewhere)}


@pytest.mark.parametrize(("path", "peers"), PEERS, ids=[path for path, _ in PEERS])
def test_a_peer_that_is_shown_is_in_a_named_namespace_or_an_address(path: str, peers: list[dict[str, Any]]) -> None:
    """A podSelector alone would look in the release's own namespace, where what is meant is not."""
    assert all("ipBlock" in it or "kubernetes.io/metadata.name" in str(it["namespaceSelector"]) for it in peers)
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "shown"}}
    assert not faults(policy | {"spec": {"podSelector": {}, "ingress": [{"from": peers}]}})
    values: Any = peers
    for key in reversed(path.split(".")):
        values = {key: values}
    assert render("01-minimal", *given(values))


def test_one_value_turns_all_off() -> None:
    assert not only(render("02-production", "--set", "networkPolicy.enabled=false"), "NetworkPolicy")


def test_who_is_not_named_may_not_come_in() -> None:
    nobody: dict[str, Any] = {"gateways": [], "prometheus": [], "keda": []}
    manifests = render("01-minimal", *given({"networkPolicy": nobody}))
    assert {source for source, _, _ in allowed(manifests, "ingress")} == {*PROCESSES, *JOBS, "gateway", "test"}
    assert "ingress" not in named(manifests, "NetworkPolicy")["gateway"]["spec"]


def test_no_port_of_external_apis_is_no_port_at_all() -> None:
    egress = allowed(render("01-minimal", *given({"networkPolicy": {"external": {"ports": []}}})), "egress")
    assert not [way for way in egress if way[1] in OUTSIDE]


def test_a_policy_is_written_beside_its_component() -> None:
    """Whoever reads a component's file sees its policy; only what is denied to all stands alone."""
    files = {path.stem for path in (CHART / "templates").glob("*.yaml") if "kind: NetworkPolicy" in path.read_text()}
    assert files == {*PROCESSES, "gateway", "dummyjson", "postgres", "redis", "migrations", "networkpolicy"}


@pytest.mark.parametrize("store", [("postgres", 5432), ("redis", 6379)])
def test_an_external_server_that_is_not_named_may_be_anywhere(store: tuple[str, int]) -> None:
    name, port = store
    manifests = render("02-production", *given({"networkPolicy": {name: {"peers": [], "port": port}}}))
    to_anyone = {it for it in allowed(manifests, "egress") if it[1] == "anyone"}
    assert to_anyone == ways((*PROCESSES, *(() if name == "redis" else (*JOBS, "test"))), ("anyone",), port)
    assert "anyone" not in {source for source, _, _ in allowed(manifests, "ingress")}


@pytest.mark.parametrize("peers", [[], [{"ipBlock": {"cidr": "10.9.0.0/16"}}]])
def test_services_of_another_release_are_let_through(peers: list[dict[str, Any]]) -> None:
    values = {
        "auth": {"enabled": False},
        "catalog": {"settings": {"AUTH_URL": "http://auth.other:8001"}},
        "sync": {"settings": {"AUTH_URL": "http://auth.other:8001"}},
        "networkPolicy": {"auth": {"peers": peers, "port": 8001}},
    }
    egress = allowed(render("01-minimal", *given(values)), "egress")
    there = "10.9.0.0/16" if peers else "anyone"
    assert {it for it in egress if it[2] == "8001"} == ways(
        ("catalog", "sync-api", "sync-worker", "sync-scheduler"), (there,), 8001
    )
    assert "auth" not in {name for way in egress for name in way}


def test_an_open_gateway_lets_in_who_is_named() -> None:
    values = {
        "gateway": {"service": {"type": "LoadBalancer"}},
        "networkPolicy": {"gateways": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]},
    }
    ingress = allowed(render("01-minimal", *given(values)), "ingress")
    assert {it for it in ingress if it[1] == "gateway"} == {
        ("0.0.0.0/0", "gateway", "8000"), ("monitoring", "gateway", "9100"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.169.254", "127.0.0.1", "100.100.100.200", "0.0.0.0",
        "::1", "fd00:ec2::254", "fe80::1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("component", ["sync-api", "sync-worker"])
def test_no_external_api_is_in_a_private_network(component: str, address: str) -> None:
    rules = named(render(), "NetworkPolicy")[component]["spec"]["egress"]
    blocks = [it["ipBlock"] for rule in rules for it in rule["to"] if "ipBlock" in it]
    assert {it["cidr"] for it in blocks} == set(OUTSIDE)

    def reached(target: str) -> bool:
        inside = [it for it in blocks if ip_address(target) in ip_network(it["cidr"])]
        return any(not [no for no in it["except"] if ip_address(target) in ip_network(no)] for it in inside)

    assert not reached(address)
    assert reached("1.1.1.1")
    assert reached("2606:4700::1111")
