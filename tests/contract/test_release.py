"""`make release` in a copy of this repository: what it writes, and what it refuses."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

from common import __version__
from tools.release import CannotRelease, release

ROOT = Path(__file__).parents[2]
TODAY = date(2031, 2, 3)
NEXT = "97.98.99"
HEADING = re.compile(r"^## (?:\[Unreleased\]|\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d))$")
WORKSPACE = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["uv"]["workspace"]["members"]
MEMBERS = [str(path.relative_to(ROOT)) for pattern in WORKSPACE for path in sorted(ROOT.glob(pattern))]
SECTIONS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The tracked files of this repository as they are now, committed, with an entry in the changelog."""
    for file in git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if (ROOT / file).is_file():
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, tmp_path / file)
    edit(tmp_path / "CHANGELOG.md", lambda text: text.replace("[Unreleased]\n", "[Unreleased]\n\n- An entry.\n", 1))
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def edit(file: Path, change: Callable[[str], str]) -> None:
    text = file.read_text("utf-8")
    assert change(text) != text
    file.write_text(change(text), "utf-8")


def commit(clone: Path) -> None:
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "change")


def lines_with(clone: Path, version: str) -> list[str]:
    """Lines of tracked files that hold `version`, without pins of packages that happen to have the same one."""
    number = re.compile(rf"(?<![\d.]){re.escape(version)}(?![\d.])")
    skipped = {"CHANGELOG.md", "sbom.cdx.json", "tests/load/fastify/package-lock.json"}
    return [
        f"{file}: {line}"
        for file in git(clone, "ls-files").splitlines()
        if file not in skipped
        for line in (clone / file).read_text("utf-8").splitlines()
        if number.search(line) and f"=={version}" not in line
    ]


def test_the_version_is_written_into_every_file_that_names_it(clone: Path) -> None:
    named = lines_with(clone, __version__)
    files = release(clone, NEXT, TODAY)
    assert lines_with(clone, __version__) == [], "add what is left to PLACES in tools/release.py"
    assert set(lines_with(clone, NEXT)) >= {line.replace(__version__, NEXT) for line in named}
    assert git(clone, "diff", "--name-only").splitlines() == files
    assert git(clone, "log", "--oneline").count("\n") == 1, "it commits and tags nothing"
    assert git(clone, "tag") == "", "it commits and tags nothing"


@pytest.mark.parametrize("member", MEMBERS)
def test_packages_derive_the_version(member: str) -> None:
    assert ProjectMetadata(str(ROOT / member), PluginManager()).version == __version__


def test_generated_files_are_as_if_made_anew(clone: Path) -> None:
    release(clone, NEXT, TODAY)
    written = (clone / "sbom.cdx.json").read_text("utf-8")
    subprocess.run([sys.executable, "-m", "tools.sbom"], cwd=clone, check=True, capture_output=True)
    assert (clone / "sbom.cdx.json").read_text("utf-8") == written


def test_the_changelog_gets_a_date_and_an_empty_section(clone: Path) -> None:
    before = (clone / "CHANGELOG.md").read_text("utf-8")
    release(clone, NEXT, TODAY)
    after = (clone / "CHANGELOG.md").read_text("utf-8")
    assert after == before.replace("## [Unreleased]\n", f"## [Unreleased]\n\n## [{NEXT}] - 2031-02-03\n")
    commit(clone)
    with pytest.raises(CannotRelease, match="has no entry"):
        release(clone, "98.0.0", TODAY)


@pytest.mark.parametrize("version", ["", "1", "1.2", "v9.0.0", "9.0.0rc1", "9.0.0.1", "09.0.0", "9.0.0\n", "९.0.0"])
def test_what_is_no_version_is_refused(clone: Path, version: str) -> None:
    with pytest.raises(CannotRelease, match="is not a version"):
        release(clone, version, TODAY)


@pytest.mark.parametrize("version", [__version__, "0.0.9"])
def test_a_version_must_be_higher(clone: Path, version: str) -> None:
    with pytest.raises(CannotRelease, match=f"^{version} is not higher than {__version__}"):
        release(clone, version, TODAY)


def test_a_tree_with_changes_is_refused_and_stays_as_it_is(clone: Path) -> None:
    (clone / "new.txt").write_text("", "utf-8")
    with pytest.raises(CannotRelease, match=r"new\.txt"):
        release(clone, NEXT, TODAY)
    assert git(clone, "diff", "--name-only") == ""


def test_a_place_without_the_version_is_told_and_nothing_is_written(clone: Path) -> None:
    edit(clone / "deploy/Dockerfile", lambda text: text.replace("ARG VERSION=", "ARG RELEASE="))
    commit(clone)
    with pytest.raises(CannotRelease, match="deploy/Dockerfile does not have"):
        release(clone, NEXT, TODAY)
    assert git(clone, "diff", "--name-only") == ""


def test_the_command_says_what_it_did_or_why_not(clone: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tools.release", *arguments]
        return subprocess.run(command, cwd=clone, capture_output=True, text=True, timeout=60)

    refused = run("soon")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "release: 'soon' is not a version: three whole numbers are, such as 1.2.3\n"
    done = run(NEXT)
    assert done.returncode == 0, done.stderr
    assert "\n  CHANGELOG.md\n" in done.stdout
    assert f"git tag v{NEXT}" in done.stdout


def test_the_changelog_has_the_form_of_keep_a_changelog() -> None:
    headings = re.findall(r"^## .*$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    found = [match for heading in headings if (match := HEADING.fullmatch(heading))]
    assert len(found) == len(headings), headings
    versions = [tuple(map(int, match[1].split("."))) for match in found if match[1]]
    assert headings[0] == "## [Unreleased]"
    assert len(versions) == len(headings) - 1
    assert versions == sorted(versions, reverse=True)
    assert ".".join(map(str, versions[0])) == __version__
    dates = [date.fromisoformat(match[2]) for match in found if match[2]]
    assert dates == sorted(dates, reverse=True)
    assert set(re.findall(r"^### (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)) <= SECTIONS
