"""Every image says what it is and of which commit; whoever builds one says the commit."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text("utf-8")
STAGES = dict(re.findall(r"^FROM \S+ AS (\w+)\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.M | re.S))
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"].values()
BUILT = {it["build"]["target"]: it["image"] for it in COMPOSE if "build" in it}
README = (ROOT / "docs/kubernetes.md").read_text("utf-8") + (ROOT / "helm/products-api/README.md").read_text("utf-8")


def test_there_are_four() -> None:
    assert BUILT == {
        "service": "products-api", "gateway": "products-api-gateway", "dummyjson": "products-api-dummyjson",
        "postgres": "products-api-postgres",
    }  # fmt: skip


@pytest.mark.parametrize("target", BUILT)
def test_an_image_has_the_labels_of_the_open_container_initiative(target: str) -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', STAGES[target]))
    assert labels.pop("description")
    assert labels == {
        "title": BUILT[target], "licenses": "MIT", "version": "${VERSION}", "revision": "${REVISION}",
    }  # fmt: skip
    # The arguments are above the first stage, and a stage sees those that it names; late, since they change often.
    rest = STAGES[target].partition("ARG VERSION\nARG REVISION\nLABEL ")[2]
    assert rest
    assert not re.search(r"^(RUN|COPY|ADD) ", rest, re.M)


def test_processes_find_the_bytecode_of_the_standard_library() -> None:
    assert "RUN python -m compileall " in STAGES["python"]
    assert set(re.findall(r"^FROM python AS (\w+)$", DOCKERFILE, re.M)) == {"service", "dummyjson", "gateway"}
    # Installers compile what they install, unless they are told not to.
    assert "--no-compile" not in DOCKERFILE


def test_version_and_revision_stand_once() -> None:
    head = DOCKERFILE.partition("\nFROM ")[0]
    assert re.findall(r"^ARG (VERSION|REVISION)=", DOCKERFILE, re.M) == ["VERSION", "REVISION"]
    assert re.findall(r"^ARG (VERSION|REVISION)=", head, re.M) == ["VERSION", "REVISION"]


def test_all_builds_pass_the_revision_on() -> None:
    assert {tuple(it["build"]["args"]) for it in COMPOSE if "build" in it} == {("REVISION",)}
    assert "up: export REVISION = $(shell git rev-parse HEAD" in (ROOT / "Makefile").read_text("utf-8")
    assert '--build-arg REVISION="$revision"' in (ROOT / "deploy/skaffold/build.sh").read_text("utf-8")
    commands = re.findall(r"^docker build .*$", README, re.M)
    assert len(commands) >= 5
    assert not [it for it in commands if "--build-arg REVISION " not in it]
    assert README.count("export REVISION=$(git rev-parse HEAD)\n") == 2
