"""What Ingress and HTTPRoute let through, path by path; that it is what the bundled gateway has, tests/contract
compares."""

from collections.abc import Iterator

import pytest

from tests.helm.render import Manifest, given, only, render

ROUTED = given(
    {
        "ingress": {"enabled": True},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]},
        "networkPolicy": {"enabled": False},
    }
)
PUBLIC = {
    "/auth": "auth", "/auth/login": "auth", "/auth/health": "auth", "/.well-known/jwks.json": "auth",
    "/products": "catalog", "/products/7": "catalog", "/docs": "catalog", "/docs/oauth2-redirect": "catalog",
    "/redoc": "catalog", "/openapi.json": "catalog", "/health": "catalog", "/": "catalog", "/problems": "catalog",
    "/favicon.ico": "catalog", "/redoc/": "catalog", "/openapi.json/": "catalog", "/health/": "catalog",
    "/sync": "sync-api", "/sync/trigger": "sync-api", "/sync/health": "sync-api",
}  # fmt: skip
HIDDEN = (
    "/internal", "/internal/imports/dummyjson/pages", "/metrics", "/livez", "/authx", "/authx/login", "/productsx",
    "/syncx", "/docsx", "/redoc/x", "/openapi.jsonx", "/openapi.json/x", "/health/x", "/healthz", "/.well-known",
    "/.well-known/jwks.json/x", "/.well-known/openid-configuration", "/AUTH/login", "/admin",
)  # fmt: skip


def table(manifest: Manifest) -> Iterator[tuple[str, str, str]]:
    """Type, path and Service of each way of an Ingress or an HTTPRoute."""
    for rule in manifest["spec"]["rules"]:
        for path in rule.get("http", {}).get("paths", []):
            yield path["pathType"], path["path"], path["backend"]["service"]["name"]
        for match in rule.get("matches", []):
            (backend,) = rule["backendRefs"]
            yield match["path"]["type"], match["path"]["value"], backend["name"]


def leads(manifest: Manifest, path: str) -> set[str]:
    """Whom a path reaches; prefixes are of whole path elements, as both specifications say."""
    found = set()
    for kind, value, service in table(manifest):
        assert kind in ("Exact", "Prefix", "PathPrefix"), "others mean what a controller likes"
        if path == value or (kind != "Exact" and path.startswith(f"{value}/")):
            found.add(service.removeprefix("shop-"))
    return found


@pytest.fixture(params=["Ingress", "HTTPRoute"])
def route(request: pytest.FixtureRequest) -> Manifest:
    (manifest,) = only(render("01-minimal", *ROUTED), request.param)
    return manifest


def test_each_public_path_leads_to_its_service(route: Manifest) -> None:
    assert {path: leads(route, path) for path in PUBLIC} == {path: {service} for path, service in PUBLIC.items()}


def test_nothing_else_leads_anywhere(route: Manifest) -> None:
    assert not {path: to for path in HIDDEN if (to := leads(route, path))}
    assert "defaultBackend" not in route["spec"]
    assert not [
        (kind, value) for kind, value, _ in table(route) if value[0] != "/" or (value == "/" and kind != "Exact")
    ]


def test_no_controller_is_preferred(route: Manifest) -> None:
    assert "annotations" not in route["metadata"]
    assert "nginx" not in str(route)


def test_a_service_that_is_not_there_has_no_path() -> None:
    values = {"sync": {"enabled": False}}
    for kind in ("Ingress", "HTTPRoute"):
        (manifest,) = only(render("01-minimal", *ROUTED, *given(values)), kind)
        assert {leads(manifest, path) == {to} for path, to in PUBLIC.items() if to != "sync-api"} == {True}
        assert not leads(manifest, "/sync/trigger")


def test_the_ingress_has_class_hosts_and_tls() -> None:
    (ingress,) = only(render("02-production"), "Ingress")
    assert ingress["spec"]["ingressClassName"] == "traefik"
    assert ingress["spec"]["tls"] == [{"secretName": "products-tls", "hosts": ["products.example"]}]
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == ["products.example"]
    (bare,) = only(render("01-minimal", *ROUTED), "Ingress")
    assert not {"ingressClassName", "tls"} & bare["spec"].keys()
    assert [rule.get("host") for rule in bare["spec"]["rules"]] == [None]


def test_every_host_has_every_path() -> None:
    hosts = given({"ingress": {"hosts": ["a.example", "*.b.example"]}})
    (ingress,) = only(render("02-production", *hosts), "Ingress")
    assert {rule["host"]: len(rule["http"]["paths"]) for rule in ingress["spec"]["rules"]} == {
        "a.example": 14, "*.b.example": 14,
    }  # fmt: skip


def test_the_http_route_has_parents_and_hosts() -> None:
    (route,) = only(render("04-gateway-api"), "HTTPRoute")
    assert route["spec"]["parentRefs"] == [{"name": "public", "namespace": "ingress"}]
    assert route["spec"]["hostnames"] == ["products.example"]


def test_annotations_are_the_operator_s() -> None:
    for kind in ("Ingress", "HTTPRoute"):
        (manifest,) = only(render("03-everything"), kind)
        assert manifest["metadata"]["annotations"] == {"example.com/note": "none is needed"}


def test_without_values_there_is_no_way_in() -> None:
    assert not [it for it in render() if it["kind"] in ("Ingress", "HTTPRoute")]
    assert {it["spec"].get("type", "ClusterIP") for it in only(render(), "Service")} == {"ClusterIP"}
