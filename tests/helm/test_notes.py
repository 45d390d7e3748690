"""What the operator reads after the install is true for the values: the way in, the first admin, what is unsafe."""

import re
from typing import Any

import pytest

from tests.helm.render import SHAPES, given, notes

PORT_FORWARD = "kubectl -n products port-forward service/shop-gateway 8000:8000"
LOCAL: dict[str, Any] = {"global": {"settings": {"APP_ENV": "local"}}}


def told(shape: str, values: dict[str, Any]) -> str:
    """The notes with more values; `helm install` is told no capabilities here, so KEDA is left out."""
    return notes(shape, "--set", "sync.worker.autoscaling.by=external", *given(values))


def unsafe(text: str) -> set[str]:
    """The first word or two of each line under "Not for production"."""
    return set(re.findall(r"^  - (\S+ \S+)", text.partition("Not for production:")[2], re.MULTILINE))


@pytest.mark.parametrize(
    ("shape", "values", "said", "unsaid"),
    [
        (
            "01-minimal",
            {},
            [PORT_FORWARD, "http://localhost:8000/docs"],
            ["Ingress", "at your Gateway", "nothing leads"],
        ),
        ("02-production", {}, ["https://products.example/docs"], ["port-forward", "http://", "nothing leads"]),
        ("02-production", {"ingress": {"tls": []}}, ["http://products.example/docs"], ["https://"]),
        (
            "02-production",
            {"ingress": {"hosts": []}},
            ["under any host name: kubectl -n products get ingress shop-public"],
            ["products.example"],
        ),
        (
            "04-gateway-api",
            {},
            ["products.example at your Gateway", "kubectl -n products get httproute shop-public"],
            ["port-forward", "Ingress", "nothing leads"],
        ),
        ("01-minimal", {"gateway": {"enabled": False}}, ["nothing leads to it from outside"], ["port-forward"]),
        ("01-minimal", {"gateway": {"tls": {"secretName": "x"}}}, ["https://localhost:8000/docs"], ["http://"]),
    ],
)
def test_the_way_in_is_the_one_that_there_is(
    shape: str, values: dict[str, Any], said: list[str], unsaid: list[str]
) -> None:
    text = told(shape, values).partition("Not for production:")[0]
    assert not [it for it in said if it not in text]
    assert not [it for it in unsaid if it in text]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({}, "kubectl -n products exec -it deploy/shop-auth -- python -m auth create-admin you@example.com"),
        (
            LOCAL | {"auth": {"settings": {"ADMIN_REGISTRATION": "first"}}},
            'The first to register with "role": "admin" is one',
        ),
        (
            LOCAL | {"auth": {"settings": {"ADMIN_REGISTRATION": "open"}}},
            'Anyone who registers with "role": "admin" is one',
        ),
    ],
)
def test_how_to_become_admin(values: dict[str, Any], line: str) -> None:
    _, _, text = told("01-minimal", values).partition("\nBecome admin:\n  ")
    assert text.startswith(line)


def test_without_auth_nobody_becomes_admin_here() -> None:
    elsewhere = {"settings": {"AUTH_URL": "https://auth.example"}}
    text = told("01-minimal", {"auth": {"enabled": False}, "catalog": elsewhere, "sync": elsewhere})
    assert "admin" not in text
    assert "helm -n products test" not in text
    assert "auth has one pod" not in text


def test_a_trial_is_not_for_production() -> None:
    text = told("01-minimal", {})
    assert unsafe(text) == {"PostgreSQL is", "Redis is", "auth has", "catalog has", "sync has"}
    assert "helm -n products test shop" in text


def test_production_has_nothing_to_be_warned_of() -> None:
    text = told("02-production", {})
    assert "Not for production" not in text
    assert "was generated" not in text, "all secrets were given"


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        (LOCAL, "APP_ENV is"),
        (LOCAL | {"auth": {"settings": {"ADMIN_REGISTRATION": "open"}}}, "ADMIN_REGISTRATION is"),
        ({"networkPolicy": {"enabled": False}}, "No NetworkPolicy:"),
        ({"ingress": {"tls": []}}, "The Ingress"),
        ({"sync": {"provider": {"enabled": True}}}, "Products come"),
        ({"gateway": {"enabled": True, "service": {"type": "LoadBalancer"}}}, "The bundled"),
        ({"gateway": {"enabled": True, "service": {"type": "NodePort"}}}, "The bundled"),
        ({"global": {"settings": {"TRUSTED_PROXY_HOPS": 0}}}, "TRUSTED_PROXY_HOPS is"),
        ({"postgres": {"enabled": True}}, "PostgreSQL is"),
        ({"redis": {"enabled": True}}, "Redis is"),
        ({"auth": {"api": {"replicas": 1}}}, "auth has"),
        ({"catalog": {"api": {"autoscaling": {"enabled": True, "minReplicas": 1}}}}, "catalog has"),
        ({"sync": {"api": {"replicas": 1, "autoscaling": {"enabled": False}}}}, "sync has"),
    ],
)
def test_each_unsafe_choice_is_named(values: dict[str, Any], warning: str) -> None:
    assert warning not in unsafe(told("02-production", {}))
    assert warning in unsafe(told("02-production", values))


def test_an_open_gateway_with_tls_is_safe() -> None:
    gateway = {"enabled": True, "service": {"type": "LoadBalancer"}, "tls": {"secretName": "x"}}
    assert "The bundled" not in unsafe(told("02-production", {"gateway": gateway}))


def test_several_pods_by_autoscaling_are_several() -> None:
    on = {"process": {"autoscaling": {"enabled": True}}}
    assert not {it for it in unsafe(told("01-minimal", {"global": on})) if it.endswith(" has")}


def test_pods_that_kubectl_scales_are_not_counted() -> None:
    assert not {it for it in unsafe(told("01-minimal", {"global": {"process": {"replicas": None}}})) if "has" in it}


def test_what_was_generated_outlives_the_release() -> None:
    assert "Secret shop-secrets was generated and outlives the release, like the volumes" in told("01-minimal", {})
    text = told("06-managed", {})
    assert "Secret shop-secrets was generated and outlives the release:" in text
    assert "volumes" not in text


@pytest.mark.parametrize("shape", SHAPES)
def test_the_text_is_clean(shape: str) -> None:
    text = told(shape, {})
    assert text.startswith("Products API ")
    assert "is release shop in namespace products." in text
    assert not re.search(r"<no value>|%!|map\[|\n\n\n| \n", text)
    assert max(map(len, text.splitlines())) <= 140
