"""Writes the CycloneDX bill of materials of what the service image installs: `python -m tools.sbom`.

It depends on the lock file alone, so it is the same on every machine and at any time. Hashes are those of all files
that may be installed; a component that only some platforms get is `optional`.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

__all__ = ["PATH", "rendered"]

ROOT = Path(__file__).parents[1]
PATH = ROOT / "sbom.cdx.json"
PIN = re.compile(
    r"^(?P<name>\S+)==(?P<version>[^\s;]+)(?P<marker> ;[^\\]*)?(?P<hashes>(?:\s*\\\n\s+--hash=\S+)+)", re.MULTILINE
)


def bill() -> dict[str, Any]:
    """The bill of materials of requirements-services.lock."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    lock = (ROOT / "requirements-services.lock").read_text("utf-8")
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component("application", project["name"], project["version"])},
        "components": [library(match) for match in PIN.finditer(lock)],
    }


def component(kind: str, name: str, version: str) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{version}"
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}


def library(pin: re.Match[str]) -> dict[str, Any]:
    return component("library", pin["name"], pin["version"]) | {
        "scope": "optional" if pin["marker"] else "required",
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in re.findall(r"sha256:(\w+)", pin["hashes"])],
    }


def rendered() -> str:
    return json.dumps(bill(), indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(rendered(), "utf-8")
    print(f"wrote {PATH}")
