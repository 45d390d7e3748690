"""Every shape that people deploy: clean for `helm lint`, valid for Kubernetes, and the same each time."""

import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.render import CHART, SHAPES, TESTS, Manifest, given, helm, only, pods, render, template
from tests.helm.schemas import FOLDER, faults

LONGEST = "a" * 36
# Each of the services lives elsewhere.
ELSEWHERE = {
    "auth": {"settings": {}},
    "catalog": {"settings": {"AUTH_URL": "https://auth.example"}},
    "sync": {"settings": {"AUTH_URL": "https://auth.example", "CATALOG_URL": "https://catalog.example"}},
}

every_shape = pytest.mark.parametrize("shape", SHAPES)


def assert_valid(manifests: list[Manifest], tmp_path: Path) -> None:
    found = {f"{it['kind']} {it['metadata']['name']}": faults(it) for it in manifests}
    assert not {name: told for name, told in found.items() if told}
    if kubeconform := shutil.which("kubeconform"):
        (tmp_path / "all.yaml").write_text("\n---\n".join(map(json.dumps, manifests)), "utf-8")
        schemas = f"{FOLDER}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
        command = [kubeconform, "-strict", "-schema-location", schemas, str(tmp_path / "all.yaml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


@every_shape
def test_lint_has_nothing_to_say(shape: str) -> None:
    done = helm("lint", "--strict", str(CHART), "-f", str(SHAPES[shape]))
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout, done.stdout


@every_shape
def test_kubernetes_takes_every_object(shape: str, tmp_path: Path) -> None:
    assert_valid(render(shape), tmp_path)


@every_shape
def test_names_are_one_of_a_kind_and_short_enough(shape: str) -> None:
    manifests = render(shape, *given({"global": {"name": LONGEST}}))
    names = Counter((it["kind"], it["metadata"]["name"]) for it in manifests)
    assert max(names.values()) == 1
    assert all(len(name) <= 63 and name.startswith(f"{LONGEST}-") for _, name in names)
    labels = {value for it in manifests for value in it["metadata"]["labels"].values()}
    assert all(len(label) <= 63 for label in labels)


@every_shape
def test_the_namespace_is_the_release_s(shape: str) -> None:
    assert not [it for it in render(shape) if "namespace" in it["metadata"]]


@every_shape
def test_a_second_rendering_differs_only_in_generated_secrets(shape: str) -> None:
    first, second = (list(yaml.load_all(template(shape).stdout, yaml.CSafeLoader)) for _ in range(2))
    generated = [[it.pop("data") for it in only(manifests, "Secret", "-secrets")] for manifests in (first, second)]
    assert first == second
    assert all(one[key] != other[key] for one, other in zip(*generated, strict=True) for key in one), (
        "generated, so never twice the same"
    )


@pytest.mark.parametrize("name", ["1shop", "my.shop", "a" * 37])
def test_a_release_whose_name_no_service_can_have_is_told_so(name: str) -> None:
    done = helm("template", name, str(CHART))
    assert f'the name "{name}" cannot begin the names of Services' in done.stderr
    assert helm("template", name, str(CHART), "--set", "global.name=shop").returncode == 0


@pytest.mark.parametrize("name", ["123", "true"])
def test_a_release_with_a_name_that_yaml_would_misread(name: str) -> None:
    scaled = given({"sync": {"worker": {"autoscaling": {"enabled": True, "by": "external"}}}})
    done = helm("template", name, str(CHART), "--namespace", name, "--set", "global.name=shop", *scaled)
    assert set(re.findall(r"app.kubernetes.io/instance: (.+)", done.stdout)) == {f'"{name}"'}
    for manifest in yaml.load_all(done.stdout, yaml.CSafeLoader):
        assert not faults(manifest), manifest["metadata"]["name"]


@pytest.mark.parametrize("service", ELSEWHERE)
def test_each_service_may_be_left_out(service: str, tmp_path: Path) -> None:
    values: dict[str, Any] = {name: it for name, it in ELSEWHERE.items() if service == "auth" or name == "sync"}
    manifests = render("01-minimal", *given(values | {service: {"enabled": False}}))
    assert_valid(manifests, tmp_path)
    gone = {"auth": {"auth", "migrate-auth"}, "catalog": {"catalog", "migrate-catalog"}}
    gone["sync"] = {"sync-api", "sync-worker", "sync-scheduler", "migrate-sync"}
    # What cannot be promised without it is not tried.
    checks = {"auth": TESTS - {"test-health"}, "catalog": {"test-products", "test-sync"}, "sync": {"test-sync"}}
    assert pods(render()).keys() - pods(manifests).keys() == gone[service] | checks[service]


def test_it_is_one_chart_and_needs_no_download() -> None:
    (chart,) = (yaml.safe_load(it.read_text("utf-8")) for it in CHART.rglob("Chart.yaml"))
    assert "dependencies" not in chart
    assert chart["version"] == chart["appVersion"]
    assert not [*CHART.rglob("*.tgz"), *CHART.rglob("Chart.lock")]


def test_the_package_renders_as_the_folder_does(tmp_path: Path) -> None:
    assert helm("package", str(CHART), "-d", str(tmp_path)).returncode == 0
    (package,) = tmp_path.iterdir()
    folder, packed = (helm("template", "shop", str(it), "-f", str(SHAPES["02-production"])) for it in (CHART, package))
    assert packed.stdout == folder.stdout != ""
