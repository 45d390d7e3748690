"""Files that tools and hosts read, and pages: they agree with the repository that they speak of."""

import configparser
import json
import re
import subprocess
import tomllib
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
FILES = [file for file in FILES if (ROOT / file).is_file()]
PAGES = [file for file in FILES if file.endswith(".md")]
PACKAGES = [path.name for path in ROOT.glob("*/*/src/*") if path.is_dir()]
DECISIONS = sorted(path.name for path in (ROOT / "docs/adr").glob("0*.md"))
TARGETS = set(re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text("utf-8")), target


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_paths_and_targets_of_make_exist(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    for path in re.findall(r"`((?:deploy|docs|helm|libs|services|tests|tools)/[\w./-]+)`", text):
        assert (ROOT / path).exists() or path == "docs/README.md", path
    for path in re.findall(rf"`((?:{'|'.join(PACKAGES)})/[\w./-]+\.(?:py|json))`", text):
        assert list(ROOT.glob(f"*/*/src/{path}")), path
    named = set(re.findall(r"(?:`|^|; )make ([a-z0-9-]+)", text, re.MULTILINE))
    assert named <= TARGETS, named - TARGETS
    for module in re.findall(r"python3? -m ([\w.]+)", text):
        assert find_spec(module), module


@pytest.mark.parametrize("name", DECISIONS)
def test_a_decision_has_its_parts_and_is_listed(name: str) -> None:
    text = (ROOT / "docs/adr" / name).read_text("utf-8")
    title, *_ = text.splitlines()
    assert re.fullmatch(rf"# {int(name[:4])}\. \S.*", title)
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]
    assert re.search(r"^Status: (accepted|replaced by \[decision \d+\]\(\S+\))$", text, re.MULTILINE)
    listed = f"| [{name[:4]}]({name}) | {title.partition('. ')[2]} |"
    assert listed in (ROOT / "docs/adr/README.md").read_text("utf-8")


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [int(name[:4]) for name in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def test_files_are_as_the_editor_configuration_says() -> None:
    config = configparser.ConfigParser()
    config.read_string("[root]\n" + (ROOT / ".editorconfig").read_text("utf-8"))

    def wanted(file: str) -> dict[str, str]:
        name, found = Path(file).name, dict[str, str]()
        for section in config.sections()[1:]:
            patterns = section[1:-1].split(",") if section.startswith("{") else [section]
            if "{" in section[1:]:
                head, _, rest = section.partition("{")
                patterns = [head + it for it in rest[:-1].split(",")]
            if any(fnmatch(name, pattern) for pattern in patterns):
                found |= config[section]
        return found

    for file in FILES:
        rule, content = wanted(file), (ROOT / file).read_bytes()
        text = content.decode(rule["charset"])
        lines = text.split("\n")
        assert not content or content.endswith(b"\n") or rule["insert_final_newline"] == "unset", file
        assert all(line.endswith("\r") == (rule["end_of_line"] == "crlf") for line in lines[:-1]), file
        assert not re.search(r"[ \t]+\r?$", text, re.MULTILINE), file
        if rule["indent_style"] == "space":
            assert not any(line.startswith("\t") for line in lines), file


def test_hooks_before_a_commit_run_what_is_here() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    for repository in config["repos"]:
        assert repository["repo"] == "local", "others are fetched at the first commit"
        for hook in repository["hooks"]:
            assert hook["language"] == "system"
            assert "additional_dependencies" not in hook
            program, *arguments = hook["entry"].split()
            assert program == "make"
            assert set(arguments) - {"--silent"} <= TARGETS


def test_the_workflow_runs_ci_on_the_oldest_python_and_the_one_of_the_image() -> None:
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))["jobs"]["ci"]
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["requires-python"]
    image = re.findall(r"^ARG BASE=python:(\d+\.\d+)-", (ROOT / "deploy/Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert set(job["strategy"]["matrix"]["python"]) == {oldest.removeprefix(">="), *image}
    program = ROOT / next(step["run"] for step in job["steps"] if "run" in step)
    assert program.stat().st_mode & 0o100, "it is executable"


def test_packages_that_are_updated_together_are_in_use() -> None:
    texts = "\n".join(
        (ROOT / file).read_text("utf-8") for file in FILES if file.endswith((".lock", ".yml", ".yaml", "Dockerfile"))
    )
    rules = json.loads((ROOT / "renovate.json").read_text("utf-8"))["packageRules"]
    for name in {name for rule in rules for name in rule.get("matchPackageNames", [])}:
        assert re.search(rf"(?<![\w/-]){re.escape(name.removesuffix('*'))}", texts), name
