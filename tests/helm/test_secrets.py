"""Secrets stay in Secrets; pods roll when their configuration changes, and only then."""

import base64
from typing import Any

import pytest
import yaml

from stack.services import PROGRAMS, SERVICES
from tests.helm.render import CHART, SHAPES, Manifest, containers, given, helm, only, pods, render

KEYS = {"SECRET_KEY", "SYNC_CLIENT_SECRET", "POSTGRES_PASSWORD", "REDIS_PASSWORD"}
KEYS |= {f"{service.upper()}_DB_PASSWORD" for service in SERVICES}
PLAIN = "plain-for-show"


def installed(shape: str, *arguments: str) -> tuple[list[Manifest], str]:
    """What `helm install` makes of a shape: its objects, and all of them as text but for Secrets, with the notes."""
    done = helm("install", "shop", str(CHART), "-f", str(SHAPES[shape]), "--dry-run=client", *arguments)
    assert done.returncode == 0, done.stderr
    parts = done.stdout.split("\n---\n")
    last, _, notes = parts[-1].partition("\nNOTES:\n")
    manifests = [yaml.load(part, yaml.CSafeLoader) for part in [*parts[1:-1], last] if "kind:" in part]
    rest = [part for part in [*parts[:-1], last] if "kind: Secret\n" not in part]
    return manifests, "\n".join([*rest, notes])


def test_generated_secrets_are_in_the_secret_alone() -> None:
    manifests, rest = installed("01-minimal")
    (secret,) = only(manifests, "Secret")
    values = {base64.b64decode(value).decode() for value in secret["data"].values()}
    assert secret["data"].keys() == KEYS
    assert len(values) == len(KEYS)
    assert all(len(value) >= 32 and value.isalnum() for value in values), "they go into URLs as they are"
    assert "Become admin" in rest
    assert "kind: ConfigMap" in rest
    assert not [value for value in [*values, *secret["data"].values()] if value in rest]
    assert secret["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


@pytest.mark.parametrize("service", SERVICES)
def test_a_url_given_in_plain_goes_to_a_secret(service: str) -> None:
    url = f"postgresql://{service}_svc:{PLAIN}@db.example/products"
    manifests, rest = installed("01-minimal", *given({service: {"database": {"url": url}}}))
    assert PLAIN not in rest
    assert [it["stringData"] for it in only(manifests, "Secret", f"-{service}")] == [{"DATABASE_URL": url}]
    assert environment(manifests)[f"migrate-{service}", "DATABASE_URL"] == (f"shop-{service}", "DATABASE_URL")


def test_a_redis_url_given_in_plain_goes_to_secrets() -> None:
    url = f"rediss://:{PLAIN}@cache.example/0"
    manifests, rest = installed("01-minimal", *given({"global": {"redis": {"url": url}}}))
    assert PLAIN not in rest
    for service in SERVICES:
        assert [it["stringData"] for it in only(manifests, "Secret", f"-{service}")] == [{"REDIS_URL": url}]


def environment(manifests: list[Manifest]) -> dict[tuple[str, str], tuple[str, str]]:
    """Secret and key of each variable from a Secret, by service and variable."""
    found = {}
    for component, pod in pods(manifests).items():
        for container in containers(pod):
            for entry in container.get("env", []):
                if reference := entry.get("valueFrom", {}).get("secretKeyRef"):
                    found[component, entry["name"]] = (reference["name"], reference["key"])
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_secret_settings_come_from_secrets(shape: str) -> None:
    secret = KEYS | {"DATABASE_URL", "REDIS_URL", "DATABASE_PASSWORD", "REDISCLI_AUTH"}
    for component, pod in pods(render(shape)).items():
        for entry in (entry for container in containers(pod) for entry in container.get("env", [])):
            if entry["name"] in secret and "valueFrom" not in entry:
                assert entry["value"].count("$(") == 1, component
                assert f":{PLAIN}" not in entry["value"], component
    for manifest in only(render(shape), "ConfigMap"):
        assert not secret & manifest["data"].keys()


@pytest.mark.parametrize("shape", SHAPES)
def test_our_secrets_have_every_key_that_is_asked_of_them(shape: str) -> None:
    manifests = render(shape)
    held = {it["metadata"]["name"]: it.get("data", {}) | it.get("stringData", {}) for it in only(manifests, "Secret")}
    asked = set(environment(manifests).values())
    assert asked
    assert not {(name, key) for name, key in asked if name in held and key not in held[name]}


def test_given_secrets_of_all_sorts_make_none() -> None:
    assert not only(render("02-production"), "Secret")
    found = environment(render("02-production"))
    assert found["auth", "DATABASE_URL"] == ("products-auth-database", "DATABASE_URL")
    assert found["sync-worker", "REDIS_URL"] == ("products-redis", "REDIS_URL")
    assert found["auth", "SECRET_KEY"] == ("products-secrets", "SECRET_KEY")
    assert {name for name, _ in found.values()} == {
        "products-secrets", "products-redis", *(f"products-{service}-database" for service in SERVICES),
    }  # fmt: skip


def test_the_password_alone_may_come_from_a_secret() -> None:
    found = environment(render("06-managed"))
    assert found["auth", "DATABASE_PASSWORD"] == ("products-auth", "password")
    assert found["catalog", "REDIS_PASSWORD"] == ("managed-redis", "token")
    for pod in pods(render("06-managed")).values():
        names = [entry["name"] for entry in containers(pod)[0].get("env", [])]
        for url, password in (("DATABASE_URL", "DATABASE_PASSWORD"), ("REDIS_URL", "REDIS_PASSWORD")):
            # The kubelet puts in only what stands above.
            assert password not in names or names.index(password) < names.index(url)


def test_names_that_yaml_would_misread_stay_text() -> None:
    manifests = render("01-minimal", *given({"auth": {"database": {"existingSecret": "123", "key": "on"}}}))
    assert environment(manifests)["auth", "DATABASE_URL"] == ("123", "on")


def test_settings_from_secrets_win_over_those_of_the_chart() -> None:
    manifests = render("03-everything")
    assert environment(manifests)["sync-worker", "EXTERNAL_API_URL"] == ("supplier", "url")
    assert "EXTERNAL_API_URL" not in {name for service, name in environment(manifests) if service == "auth"}


def checksums(values: dict[str, Any]) -> dict[str, str | None]:
    found = pods(render("01-minimal", *given(values)))
    return {name: pod["metadata"].get("annotations", {}).get("checksum/configuration") for name, pod in found.items()}


SYNC = {"sync-api", "sync-worker", "sync-scheduler", "migrate-sync"}
ALL = {*PROGRAMS, *(f"migrate-{service}" for service in SERVICES)}


@pytest.mark.parametrize(
    ("values", "changed"),
    [
        ({"global": {"settings": {"LOG_LEVEL": "debug"}}}, ALL),
        ({"auth": {"settings": {"ACCESS_TOKEN_SECONDS": 60}}}, {"auth", "migrate-auth"}),
        ({"sync": {"settings": {"SYNC_INTERVAL_MINUTES": 5}}}, SYNC),
        ({"catalog": {"database": {"url": "postgresql://a:b@c/d"}}}, {"catalog", "migrate-catalog"}),
        ({"global": {"redis": {"url": "redis://c"}}}, ALL),
        ({"global": {"process": {"replicas": 3, "podAnnotations": {"a": "b"}}, "image": {"tag": "9"}}}, set()),
        ({"networkPolicy": {"enabled": False}, "postgres": {"resources": {}}}, set()),
        ({"global": {"configRevision": "2026-01-31"}}, ALL),
        ({"global": {"configRevision": 2}}, ALL),
    ],
    ids=["log level", "auth", "sync", "catalog's database", "redis", "not the process", "not the surroundings",
         "revision", "revision as a number"],
)  # fmt: skip
def test_pods_roll_when_their_configuration_changes(values: dict[str, Any], changed: set[str]) -> None:
    before, after = checksums({}), checksums(values)
    assert {name for name, checksum in before.items() if checksum} == ALL
    assert {name for name in before if before[name] != after[name]} == changed
