"""Prepares a release: writes a version into every file that names it, and dates the changelog's entries.

`python -m tools.release 1.2.3` changes files and nothing else; it prints the commands that commit and tag them. What is
not listed here, such as the packages' metadata, derives the version from `common.__version__`.
"""

import re
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

__all__ = ["CannotRelease", "release"]

VERSION_FILE = "libs/common/src/common/__init__.py"
CHANGELOG = "CHANGELOG.md"
UNRELEASED = "## [Unreleased]\n"
# What names the version: files, as a pathspec of git, and the text around it. Each text is in at least one of them.
PLACES = (
    (VERSION_FILE, '__version__ = "{}"'),
    ("pyproject.toml", '\nversion = "{}"\n'),
    ("deploy/Dockerfile", "ARG VERSION={}\n"),
    ("helm/*Chart.yaml", "version: {}"),
    ("helm/*Chart.yaml", "appVersion: {}"),
    ("services/catalog/src/catalog/openapi.json", '"version": "{}"'),
    ("sbom.cdx.json", '"name": "products-api",\n   "version": "{}"'),
    ("sbom.cdx.json", "pkg:pypi/products-api@{}"),
    # Tags of images.
    ("*.md", ":{}"),
)


class CannotRelease(Exception):
    """The release is refused; the message says why, and nothing has been changed."""


def release(root: Path, version: str, today: date) -> list[str]:
    """Write `version` everywhere in the clone `root`; returns the files that changed. Raises CannotRelease."""
    found = re.search(r'__version__ = "(.+)"', (root / VERSION_FILE).read_text("utf-8"))
    current = found[1] if found else "unknown"
    if _numbers(version) <= _numbers(current):
        raise CannotRelease(f"{version} is not higher than {current}, which is the version now")
    if changed := _git(root, "status", "--porcelain"):
        raise CannotRelease(f"the working tree has changes, commit or stash them first:\n{changed.rstrip()}")
    texts = {CHANGELOG: _dated((root / CHANGELOG).read_text("utf-8"), version, today)}
    for pathspec, template in PLACES:
        before, after = template.format(current), template.format(version)
        files = [file for file in _git(root, "ls-files", pathspec).splitlines() if file != CHANGELOG]
        named = [file for file in files if before in texts.setdefault(file, (root / file).read_text("utf-8"))]
        if not named:
            raise CannotRelease(f"{pathspec} does not have {before.strip()!r}: correct PLACES in tools/release.py")
        texts |= {file: texts[file].replace(before, after) for file in named}
    written = [file for file, text in texts.items() if text != (root / file).read_text("utf-8")]
    for file in written:
        (root / file).write_text(texts[file], "utf-8")
    return sorted(written)


def _numbers(version: str) -> tuple[int, ...]:
    if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", version, re.ASCII):
        raise CannotRelease(f"{version!r} is not a version: three whole numbers are, such as 1.2.3")
    return tuple(map(int, version.split(".")))


def _dated(changelog: str, version: str, today: date) -> str:
    """The changelog with what is unreleased under `version`, and a new empty section above it."""
    before, heading, rest = changelog.partition(UNRELEASED)
    if not re.search(r"^- ", rest.partition("\n## ")[0], re.MULTILINE):
        raise CannotRelease(f"{CHANGELOG} has no entry under {UNRELEASED.strip()!r}: say there what users will notice")
    return f"{before}{heading}\n## [{version}] - {today.isoformat()}\n{rest}"


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


def main(version: str) -> None:
    try:
        files = release(Path(__file__).parents[1], version, datetime.now(UTC).date())
    except CannotRelease as refusal:
        sys.exit(f"release: {refusal}")
    print("changed:", *files, sep="\n  ")
    print(f'look at `git diff`, then:\n  git commit --all --message "Release {version}"\n  git tag v{version}')


if __name__ == "__main__":
    main(*sys.argv[1:] or [""])
