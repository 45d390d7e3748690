"""skaffold.yaml builds what the chart deploys, watches what it builds, and leads where the chart listens."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.services import APIS, PROGRAMS
from tests.fixtures.pages import BLOCKS

ROOT = Path(__file__).parents[2]
SKAFFOLD: dict[str, Any] = yaml.safe_load((ROOT / "skaffold.yaml").read_text("utf-8"))
ARTIFACTS: dict[str, dict[str, Any]] = {it["image"]: it["custom"] for it in SKAFFOLD["build"]["artifacts"]}
PROFILES: dict[str, dict[str, Any]] = {it["name"]: it for it in SKAFFOLD["profiles"]}
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text("utf-8")
# What each named stage begins from, and its text.
STAGES: dict[str, tuple[str, str]] = {
    name: (base, text)
    for base, name, text in re.findall(r"^FROM (\S+) AS (\w+)\n(.*?)(?=^FROM )", DOCKERFILE, re.M | re.S)
}
GENERATED = re.compile(r"(^|/)(__pycache__|\.[^/]+|[^/]+\.egg-info)(/|$)")


def patches(profile: str) -> dict[str, Any]:
    """What a profile puts in which place; of several at the end of one list, all."""
    found: dict[str, Any] = {}
    for patch in PROFILES[profile]["patches"]:
        if patch["path"].endswith("/-"):
            found.setdefault(patch["path"], []).append(patch["value"])
        else:
            found[patch["path"]] = patch.get("value")
    return found


def files(pattern: str) -> set[str]:
    """What is below a path or a pattern of the project, as git and the builder see it."""
    tops = list(ROOT.glob(pattern))
    below = [path for top in tops for path in (top.rglob("*") if top.is_dir() else [top]) if path.is_file()]
    names = {path.relative_to(ROOT).as_posix() for path in below}
    return {name for name in names if not GENERATED.search(name)}


def copied(target: str) -> Iterator[tuple[list[str], str]]:
    """Sources and destination of what a target of the Dockerfile copies, with the stages that it is made of."""
    base, text = STAGES[target]
    for line in re.findall(r"^COPY (.+)$", text, re.M):
        if "--from=" not in line:
            *sources, destination = [word for word in line.split() if not word.startswith("--")]
            yield sources, destination
    for other in {base, *re.findall(r"--from=(\w+)", text)} & set(STAGES):
        yield from copied(other)


def test_one_artifact_for_each_image_of_the_chart() -> None:
    values = yaml.safe_load((ROOT / "helm/products-api/values.yaml").read_text("utf-8"))
    images = [values["global"]["image"], values["gateway"]["image"], values["sync"]["provider"]["image"]]
    assert [it["image"] for it in SKAFFOLD["build"]["artifacts"]] == [it["repository"] for it in images]


@pytest.mark.parametrize("image", ARTIFACTS)
def test_a_build_watches_the_files_that_its_target_copies_and_no_other(image: str) -> None:
    commands = [ARTIFACTS[image]["buildCommand"]]
    if image == "products-api":
        commands.append(patches("dev")["/build/artifacts/0/custom/buildCommand"])
    script, targets = {it.rpartition(" ")[0] for it in commands}, {it.rpartition(" ")[2] for it in commands}
    assert script == {"sh deploy/skaffold/build.sh"}
    assert targets <= set(STAGES)
    needed = {name for target in targets for sources, _ in copied(target) for it in sources for name in files(it)}
    watched = {name for path in ARTIFACTS[image]["dependencies"]["paths"] for name in files(path)}
    assert watched == needed | {"deploy/Dockerfile"}


def test_saved_code_goes_where_the_development_image_has_it() -> None:
    code = {
        path.relative_to(ROOT).as_posix() for path in ROOT.glob("*/*/src") if path.parts[-3] in ("libs", "services")
    }
    rules = patches("dev")["/build/artifacts/0/sync"]["manual"]
    sources, destination = next(copied("dev"))
    assert {path.relative_to(ROOT).as_posix() for source in sources for path in ROOT.glob(source)} == code
    assert {it["dest"] for it in rules} == {destination.rstrip("/")}
    assert {(it["src"], it["strip"]) for it in rules} == {(f"{it}/**/*.py", f"{it}/") for it in code}
    assert f"ENV PYTHONPATH={destination.rstrip('/')}:" in STAGES["dev"][1], "the image would run other code"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project: rendering writes into its folder."""
    copy = tmp_path_factory.mktemp("skaffold") / "project"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "tests", "docs"))
    return copy


def deployed(project: Path, command: list[str]) -> dict[tuple[str, str], dict[str, Any]]:
    """What a render hook of skaffold.yaml leaves for skaffold, by kind and name."""
    subprocess.run(command, cwd=project, check=True, timeout=60)
    manifests = yaml.safe_load_all((project / "deploy/skaffold/manifests/chart.yaml").read_text("utf-8"))
    return {(it["kind"], it["metadata"]["name"]): it for it in manifests if it}


@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not on PATH")
class TestRendered:
    hook: list[str] = SKAFFOLD["manifests"]["hooks"]["before"][0]["host"]["command"]

    def test_port_8000_leads_to_the_gateway(self, project: Path) -> None:
        (forward,) = SKAFFOLD["portForward"]
        service = deployed(project, self.hook)[("Service", forward["resourceName"])]
        assert service["metadata"]["labels"]["app.kubernetes.io/component"] == "gateway"
        assert [it["port"] for it in service["spec"]["ports"]] == [forward["port"]]
        assert forward["localPort"] == 8000

    def test_the_secret_has_what_the_chart_asks_of_it(self, project: Path) -> None:
        text = (project / "deploy/skaffold/manifests/base.yaml").read_text("utf-8")
        namespace, secret = yaml.safe_load_all(text)
        asked = set()
        for manifest in deployed(project, self.hook).values():
            for found in re.findall(r"'secretKeyRef': (\{.+?\})", str(manifest)):
                asked.add((yaml.safe_load(found)["name"], yaml.safe_load(found)["key"]))
        assert asked == {(secret["metadata"]["name"], key) for key in secret["stringData"]}
        assert {it["namespace"] for it in SKAFFOLD["portForward"]} == {namespace["metadata"]["name"]}

    def test_containers_may_be_written_with_dev_alone(self, project: Path) -> None:
        command = patches("dev")["/manifests/hooks/before/0/host/command"]
        for hook, read_only in ((self.hook, True), (command, False)):
            pod = deployed(project, hook)[("Deployment", "products-api-catalog")]["spec"]["template"]["spec"]
            assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is read_only

    def test_ports_of_debug_lead_to_the_processes_that_listen_there(self, project: Path) -> None:
        found = deployed(project, patches("debug")["/manifests/hooks/before/0/host/command"])
        listening: dict[str, int] = {}
        for (kind, name), it in found.items():
            if kind == "Deployment":
                environment = it["spec"]["template"]["spec"]["containers"][0].get("env", [])
                listening.update((name, int(it["value"])) for it in environment if it["name"] == "DEBUGPY_PORT")
        forwards = patches("debug")["/portForward/-"]
        assert {it["resourceName"]: it["port"] for it in forwards} == listening
        ports = list(range(5678, 5678 + len(APIS)))
        assert sorted(it["localPort"] for it in forwards) == sorted(listening.values()) == ports


@pytest.mark.skipif(shutil.which("skaffold") is None, reason="skaffold is not on PATH")
class TestSkaffold:
    @pytest.mark.parametrize("profiles", ["", "local", "registry", "dev", "dev,debug"])
    def test_diagnose_says_nothing_but_the_configuration(self, project: Path, profiles: str) -> None:
        done = self.skaffold(project, "diagnose", "--yaml-only", "--profile", profiles)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(yaml.safe_load(done.stdout)["build"]["artifacts"]) == 3

    @pytest.mark.skipif(shutil.which("helm") is None or shutil.which("kubectl") is None, reason="no helm or kubectl")
    @pytest.mark.parametrize("profiles", ["", "local", "registry", "dev", "dev,debug"])
    def test_render_gives_the_chart_with_the_images_that_are_built(self, project: Path, profiles: str) -> None:
        done = self.skaffold(project, "render", "--offline", "--digest-source=tag", "--profile", profiles)
        assert done.returncode == 0, done.stderr
        assert set(done.stderr.splitlines()) <= {"Starting pre-render hooks...", "Completed pre-render hooks...", ""}
        manifests = [it for it in yaml.safe_load_all(done.stdout) if it]
        assert manifests[0]["kind"] == "Namespace", "what is in it would be refused"
        images = set(re.findall(r"'image': '([^']+)'", str(manifests)))
        assert {it.partition(":")[0] for it in images} == {*ARTIFACTS, "postgres", "valkey/valkey"}
        ours = [it for it in images if it.partition(":")[0] in ARTIFACTS]
        assert all(re.fullmatch(r"[a-z-]+:[0-9a-f]{64}", it) for it in ours)
        assert len(ours) == 3
        deployments = [it for it in manifests if it["kind"] == "Deployment"]
        watched = {it["metadata"]["name"] for it in deployments if "'livenessProbe'" in str(it)}
        # With dev a process that fails waits for the next save.
        processes = set() if "dev" in profiles else PROGRAMS.keys()
        assert watched == {f"products-api-{it}" for it in {*processes, "gateway"}}

    @staticmethod
    def skaffold(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        settings = project.parent / ".skaffold/config"
        settings.parent.mkdir(exist_ok=True)
        settings.write_text("global: {collect-metrics: false}\n", "utf-8")
        environment = {"PATH": os.environ["PATH"], "HOME": str(project.parent), "SKAFFOLD_UPDATE_CHECK": "false"}
        return subprocess.run(
            ["skaffold", *arguments], cwd=project, env=environment, capture_output=True, text=True, timeout=120
        )


def test_the_commands_of_the_documentation_are_skaffolds() -> None:
    """Profiles and ports exist; options are known where skaffold is there to ask."""
    for line in BLOCKS["skaffold"].splitlines():
        command, _, comment = line.partition("#")
        program, verb, *options = command.split()
        assert program == "skaffold"
        assert verb in ("dev", "run")
        assert {name for flag, name in pairwise(options) if flag == "-p"} <= set(PROFILES)
        debugged = {str(it["localPort"]) for it in patches("debug")["/portForward/-"]}
        assert set(re.findall(r"\b\d{4}\b", comment)) <= debugged
        if shutil.which("skaffold"):
            known = subprocess.run(["skaffold", verb, "--help"], capture_output=True, text=True, timeout=60).stdout
            assert all(it.partition("=")[0] in known for it in options if it.startswith("--"))
