"""The bundled gateway: it finds each pod, knows the client's address, speaks TLS, and reads what it is given."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from gateway.settings import Address, load

from stack.services import APIS
from tests.helm.render import SHAPES, Manifest, given, named, only, pods, render

GIVEN = {name: yaml.safe_load(path.read_text("utf-8")) for name, path in SHAPES.items()}
WITH_GATEWAY = [name for name, values in GIVEN.items() if values.get("gateway", {}).get("enabled", True)]
WITHOUT = [name for name in SHAPES if name not in WITH_GATEWAY]


def container(manifests: list[Manifest]) -> Manifest:
    found: Manifest = pods(manifests)["gateway"]["spec"]["containers"][0]
    return found


def environment(manifests: list[Manifest]) -> dict[str, str]:
    return {it["name"]: it["value"] for it in container(manifests)["env"] if "value" in it}


def hops(manifests: list[Manifest]) -> set[str]:
    """What the services get."""
    maps = named(manifests, "ConfigMap")
    return {maps[service]["data"]["TRUSTED_PROXY_HOPS"] for service in APIS}


@pytest.mark.parametrize("shape", WITH_GATEWAY)
def test_each_service_has_a_name_for_all_of_its_pods(shape: str) -> None:
    manifests = render(shape)
    services = {it["metadata"]["name"]: it["spec"] for it in only(manifests, "Service")}
    upstreams = load(environment(manifests) | {"TLS_CERTIFICATE": "", "TLS_KEY": ""}).upstreams
    assert upstreams.keys() == APIS.keys()
    for service, addresses in upstreams.items():
        (address,) = addresses
        spec = services[address.host]
        # Its addresses are the pods', ready or not, so that the port is the container's.
        assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)
        assert spec["selector"]["app.kubernetes.io/component"] == APIS[service]
        assert [it["port"] for it in spec["ports"]] == [address.port] == [8000]


@pytest.mark.parametrize("shape", WITHOUT)
def test_without_a_gateway_nobody_needs_those_names(shape: str) -> None:
    assert not [it for it in only(render(shape), "Service") if it["spec"].get("clusterIP") == "None"]


def test_a_service_that_is_elsewhere_has_no_pods_here() -> None:
    manifests = render("01-minimal", "--set", "sync.enabled=false")
    assert {name for name in named(manifests, "Service") if name.endswith("-pods")} == {"auth-pods", "catalog-pods"}


def test_it_reads_what_it_is_given() -> None:
    settings = load(environment(render("03-everything")) | {"TLS_CERTIFICATE": "", "TLS_KEY": ""})
    assert (settings.host, settings.port, settings.metrics_port) == ("0.0.0.0", 8000, 9100)
    assert settings.upstreams["sync"] == (Address("shop-sync-api-pods", 8000),)
    assert settings.origins == ("https://shop.example", "https://admin.example")
    assert (settings.trusted_proxy_hops, settings.drain_seconds, settings.sampled) == (2, 0.5, 1.0)
    assert (settings.log_level, settings.log_format) == ("debug", "json")
    assert settings.otlp_endpoint == "http://collector.monitoring:4318"


def test_its_ports_are_named_and_measured() -> None:
    manifests = render("01-minimal")
    ports = {it["name"]: it["containerPort"] for it in container(manifests)["ports"]}
    assert ports == {"http": 8000, "metrics": 9100}
    (service,) = only(manifests, "Service", "shop-gateway")
    assert [(it["port"], it["targetPort"], it["appProtocol"]) for it in service["spec"]["ports"]] == [
        (8000, "http", "http")
    ]
    # Envoy takes 98 MB and Python 14 MB when nobody asks.
    assert container(manifests)["resources"] == {
        "requests": {"cpu": "50m", "memory": "128Mi"},
        "limits": {"cpu": "1", "memory": "256Mi"},
    }


@pytest.mark.parametrize("proxies", [0, 1, 2])
@pytest.mark.parametrize("bundled", [True, False])
def test_the_client_is_as_many_addresses_from_the_right_as_there_are_proxies(bundled: bool, proxies: int) -> None:
    """The gateway replaces the header by one address; what comes past it has those of all proxies."""
    values = {"gateway": {"enabled": bundled}, "global": {"settings": {"TRUSTED_PROXY_HOPS": proxies}}}
    manifests = render("01-minimal", *given(values))
    assert hops(manifests) == {str(max(proxies, 1) if bundled else proxies)}
    if bundled:
        assert environment(manifests)["TRUSTED_PROXY_HOPS"] == str(proxies)
    by_flag = ("--set", f"gateway.enabled={str(bundled).lower()},global.settings.TRUSTED_PROXY_HOPS={proxies}")
    assert hops(render("01-minimal", *by_flag)) == hops(manifests)


def test_tls_comes_from_a_secret_as_a_whole_folder() -> None:
    values: dict[str, Any] = {"gateway": {"tls": {"secretName": "shop-tls"}}}
    manifests = render("01-minimal", *given(values))
    pod = pods(manifests)["gateway"]["spec"]
    (volume,) = (it for it in pod["volumes"] if "secret" in it)
    assert volume["secret"] == {"secretName": "shop-tls"}
    (mount,) = (it for it in container(manifests)["volumeMounts"] if it["name"] == volume["name"])
    # A subPath would never be renewed.
    assert mount == {"name": "tls", "mountPath": "/run/tls", "readOnly": True}
    given_paths = {name: Path(environment(manifests)[name]) for name in ("TLS_CERTIFICATE", "TLS_KEY")}
    assert given_paths == {"TLS_CERTIFICATE": Path("/run/tls/tls.crt"), "TLS_KEY": Path("/run/tls/tls.key")}
    (service,) = only(manifests, "Service", "shop-gateway")
    (port,) = service["spec"]["ports"]
    assert (port["port"], port["appProtocol"]) == (8000, "https")


def test_without_a_secret_it_speaks_plain_http() -> None:
    manifests = render("01-minimal")
    assert not {"TLS_CERTIFICATE", "TLS_KEY"} & environment(manifests).keys()
    assert [it["name"] for it in pods(manifests)["gateway"]["spec"]["volumes"]] == ["tmp"]


def test_volumes_of_an_operator_stay_beside_it() -> None:
    volumes = {"name": "more", "configMap": {"name": "more"}}
    mount = {"name": "more", "mountPath": "/more"}
    process = {"extraVolumes": [volumes], "extraVolumeMounts": [mount]}
    manifests = render("01-minimal", *given({"gateway": {"process": process, "tls": {"secretName": "shop-tls"}}}))
    assert volumes in pods(manifests)["gateway"]["spec"]["volumes"]
    assert mount in container(manifests)["volumeMounts"]
    assert len(container(manifests)["volumeMounts"]) == 3
