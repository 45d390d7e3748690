"""Resolves the dependencies and writes every file that pins them: `python -m tools.lock`.

Pins that still fit stay as they are; `--upgrade` takes the newest of all, `--upgrade-package NAME` of one.
uv.lock names a registry in every entry, so it is not committed; its pins live on as constraints in pyproject.toml.
All packages come as wheels but one: crontab, which rq-scheduler needs, is published as source only. It is pure Python,
pinned by its hash like all others, and built by setuptools when it is installed.
"""

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

__all__ = ["constrained", "pins"]

ROOT = Path(__file__).parents[1]
PYPROJECT = ROOT / "pyproject.toml"
EVERYTHING = ROOT / "requirements-dev.lock"
SERVICES = sorted(path.parent.name for path in ROOT.glob("services/*/pyproject.toml"))
LOCKS = {
    "requirements.lock": "--all-packages --no-default-groups --group build",
    EVERYTHING.name: "--all-packages --all-groups",
    "requirements-build.lock": "--only-group build",
    "requirements-gateway.lock": "--no-default-groups --package products-gateway",
    "requirements-reload.lock": "--only-group reload",
    "requirements-services.lock": " ".join(["--no-default-groups", *(f"--package products-{it}" for it in SERVICES)]),
}
EXPORT = ["export", "--quiet", "--locked", "--no-emit-workspace", "--no-annotate", "--no-header", "--output-file"]
PIN = re.compile(r"^[^ #\n]*==[^\\\n]*[^ \\\n]", re.MULTILINE)
CONSTRAINTS = re.compile(r"^constraint-dependencies = \[.*?\]$", re.MULTILINE | re.DOTALL)


def pins(lock: str) -> list[str]:
    """The requirements of a lock file, without their hashes."""
    return PIN.findall(lock)


def constrained(pyproject: str, requirements: Iterable[str]) -> str:
    """pyproject.toml with these requirements as uv's constraints."""
    lines = "".join(f'    "{requirement}",\n' for requirement in requirements)
    return CONSTRAINTS.sub(lambda _: f"constraint-dependencies = [\n{lines}]", pyproject, count=1)


def main(*options: str) -> None:
    """`options` are those of `uv lock`. When that fails, pyproject.toml is as it was."""
    before = PYPROJECT.read_text("utf-8")
    # In a fresh clone the constraints are the only record of the pins.
    if not (ROOT / "uv.lock").exists() and not _uv("lock", "--quiet"):
        print("these pins no longer fit together; all are resolved again", file=sys.stderr)
    after = before
    try:
        PYPROJECT.write_text(constrained(before, []), "utf-8")
        if not _uv("lock", *options):
            sys.exit(1)
        for file, selection in LOCKS.items():
            if not _uv(*EXPORT, file, *selection.split()):
                sys.exit(1)
        after = constrained(before, pins(EVERYTHING.read_text("utf-8")))
    finally:
        PYPROJECT.write_text(after, "utf-8")
    sys.exit(not _uv("lock", "--quiet"))


def _uv(*arguments: str) -> bool:
    return subprocess.run([Path(sys.executable).with_name("uv"), *arguments], cwd=ROOT, check=False).returncode == 0


if __name__ == "__main__":
    main(*sys.argv[1:])
