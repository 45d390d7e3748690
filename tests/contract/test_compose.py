"""docker-compose.yml is whole and safe as it stands; its commands and probes are ones that exist."""

import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from gateway import settings as gateway_settings

from stack.services import SERVICES as MODULES

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text("utf-8")
OURS = {name: it for name, it in SERVICES.items() if it.get("command", [""])[0] == "python"}
ONE_SHOT = {name for name, it in OURS.items() if it["command"][3] == "migrate"}
RUNNING = set(SERVICES) - ONE_SHOT


def plugin_missing() -> str:
    if shutil.which("docker") is None:
        return "there is no docker"
    asked = subprocess.run(["docker", "compose", "version"], capture_output=True, text=True, timeout=30)
    return "" if asked.returncode == 0 else "docker has no compose plugin"


def needs(name: str) -> dict[str, str]:
    return {other: it["condition"] for other, it in SERVICES[name].get("depends_on", {}).items()}


def test_only_the_gateway_is_open_and_only_to_this_machine() -> None:
    ports = {name: it["ports"] for name, it in SERVICES.items() if "ports" in it}
    assert ports == {"gateway": ["127.0.0.1:${PORT:-8000}:8000"]}
    assert not [name for name, it in SERVICES.items() if "network_mode" in it or it.get("privileged")]


@pytest.mark.parametrize("name", sorted(RUNNING))
def test_what_runs_is_watched_and_comes_back(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    kind, *probe = SERVICES[name]["healthcheck"]["test"]
    assert kind in ("CMD", "CMD-SHELL")
    if probe[0] == "python":
        compile(probe[2], name, "exec")


@pytest.mark.parametrize("name", sorted(ONE_SHOT))
def test_a_migration_runs_once(name: str) -> None:
    assert SERVICES[name]["restart"] == "no"
    assert needs(name) == {"postgres": "service_healthy"}
    # Somebody waits for its end; else `up --wait` would take a container that has ended for a failure.
    service = name.removeprefix("migrate-")
    waiting = {it for it in OURS if needs(it).get(name) == "service_completed_successfully"}
    assert waiting == {it for it, that in OURS.items() if that["command"][2] == service} - {name}


def test_whoever_is_needed_is_ready_first() -> None:
    for name in SERVICES:
        for other, condition in needs(name).items():
            assert condition == ("service_completed_successfully" if other in ONE_SHOT else "service_healthy")


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_do_no_more_than_it_must(name: str) -> None:
    it = SERVICES[name]
    assert it["read_only"]
    assert it["cap_drop"] == ["ALL"]
    assert it["security_opt"] == ["no-new-privileges:true"]
    assert "/tmp" in it["tmpfs"]
    assert "container_name" not in it, "a name of its own would stand in the way of --scale"
    target = it.get("build", {}).get("target")
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.M)
    built = next((text for text in stages if text.split("\n")[0].endswith(f" AS {target}")), "")
    assert it.get("user") in ("postgres", "valkey") or "USER 65532:65532" in built


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_built_here_or_named_with_its_version(name: str) -> None:
    it = SERVICES[name]
    if "build" not in it:
        assert re.fullmatch(r"[a-z/]+:\d[\w.-]*", it["image"])
    else:
        assert it["image"].startswith("products-api"), "never the name of somebody else's image"
        assert (ROOT / it["build"]["context"] / it["build"]["dockerfile"]).is_file()


def test_data_lives_in_volumes_and_nothing_of_the_clone_is_mounted() -> None:
    """A mounted file keeps its mode: in a clone under umask 077 no container could read it."""
    mounts = [mount for it in SERVICES.values() for mount in it.get("volumes", [])]
    # A certificate is the user's own, and there is none by default.
    owned = {mount for mount in mounts if not mount.startswith("${TLS_")}
    assert {mount.partition(":")[0] for mount in owned} == set(COMPOSE["volumes"])
    assert {re.sub(r"\$\{\w+:-(.+?)\}:.+", r"\1", mount) for mount in {*mounts} - owned} == {"/dev/null"}


def test_what_the_images_take_from_the_clone_is_readable_for_their_users() -> None:
    """COPY keeps a file's mode, so a stage that another user runs must open what it copied."""
    stages = [stage for stage in re.split(r"^FROM ", DOCKERFILE, flags=re.M)[1:] if "\nUSER " in stage]
    copying = [stage for stage in stages if re.search(r"^COPY (?!--)", stage, re.M)]
    assert copying
    assert all(re.search(r"^RUN chmod (0644|-R a\+rX) /", stage, re.M) for stage in copying)


@pytest.mark.parametrize("module", MODULES)
def test_every_command_is_one_that_its_service_knows(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, timeout=60)
    known = re.search(r"\{([a-z,-]+)\}", done.stdout)
    assert done.returncode == 0
    assert known
    used = {it["command"][3] for it in OURS.values() if it["command"][:3] == ["python", "-m", module]}
    assert used
    assert used <= set(known[1].split(","))


def test_the_gateway_finds_the_services_by_their_names() -> None:
    given = {name: str(value) for name, value in SERVICES["gateway"]["environment"].items() if value}
    found = gateway_settings.load({name: value for name, value in given.items() if "$" not in value}).upstreams
    upstreams = {(address.host, str(address.port)) for addresses in found.values() for address in addresses}
    listening = {(name, str(it["environment"]["PORT"])) for name, it in OURS.items() if it["command"][3] == "serve"}
    assert upstreams == listening
    assert {name for name, _ in upstreams} == set(needs("gateway"))


def test_no_password_is_in_a_command() -> None:
    """Commands are visible to everybody who may list processes."""
    for it in SERVICES.values():
        text = " ".join([*it.get("command", []), *it.get("healthcheck", {}).get("test", [])])
        assert not re.search(r"(?<!\$)\$\{?\w*(PASSWORD|SECRET)", text)
        assert "local-only" not in text


def test_the_image_has_what_it_copies() -> None:
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")]
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.M):
        *sources, _ = [word for word in line.split() if not word.startswith("--")]
        for source in sources:
            assert list(ROOT.glob(source)), source
            sent = any(fnmatch(source, pattern) or source.startswith(f"{pattern}/") for pattern in kept)
            assert sent, f".dockerignore withholds {source}"


@pytest.mark.skipif(bool(plugin_missing()), reason=plugin_missing())
def test_compose_itself_accepts_the_file() -> None:
    command = ["docker", "compose", "--file", str(ROOT / "docker-compose.yml"), "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
