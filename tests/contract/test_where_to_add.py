"""The lists in docs/architecture.md are enough: no file names a field, a setting, a metric or a route but those listed.

Each kind has a sample that is in full use. A file that names the sample has to be edited for another one of its kind,
so it must be on the list, and the list is no longer than its goal. Prose and tests of behaviour are not counted, and
what `make` writes is not edited by hand. For a service there is no sample: a file that names all of them lists them.
"""

import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

from stack.services import SERVICES
from tests.fixtures.pages import PAGES, ROOT

GENERATED = (
    ".env.example",
    "helm/products-api/values.schema.json",
    "sbom.cdx.json",
    "services/catalog/src/catalog/openapi.json",
    "services/catalog/src/catalog/statements.json",
    "services/sync/src/sync/statements.json",
)
# Prose, data, tests of behaviour (ci/ has shapes of the chart for some), and this file.
NOT_COUNTED = (
    *("*.md", "deploy/dummyjson/products.json", "helm/products-api/ci/*", "tests/contract/test_where_to_add.py"),
    *(f"tests/{folder}/*" for folder in ("deploy", "e2e", "helm", "integration", "load", "mutants", "unit")),
)


class Kind(NamedTuple):
    """What may be added: the heading of its list, how many files are the goal, and how its sample is named.

    `optional` names the sample without being needed by it.
    """

    heading: str
    goal: int
    sample: str
    declaration: str = "(?!)"
    optional: str = ""


KINDS = (
    Kind("A field of products", 3, "brand", optional="services/sync/src/sync/providers/*"),
    Kind("A setting", 3, "LOGINS_PER_MINUTE", r"^ +logins_per_minute: int = Field\("),
    Kind("A metric", 1, "products_sync_ticks"),
    # The test of the OpenAPI document has the ids of released operations.
    Kind(
        "A route",
        3,
        "/products/{product_id}/restore",
        r"async def restore\(",
        optional="tests/contract/test_openapi.py",
    ),
)
MOST_FILES_OF_A_SERVICE = 15
# These name all services for what only those do, such as who calls whom: there one line that names all is a list.
NO_LISTS = (
    "deploy/local/src/stack/servers/postgres_install.py",
    "helm/products-api/ci/03-everything-values.yaml",
    *(f"helm/products-api/templates/{name}" for name in ("_settings.tpl", "catalog.yaml", "sync-worker.yaml")),
    "helm/products-api/templates/validate.yaml",
    *("libs/common/src/common/settings.py", "libs/common/src/common/web/tokens.py"),
)
# What the product is said to be; and what has no use without just these three.
PHRASES = ("auth, catalog and sync", "and .Values.auth.enabled .Values.catalog.enabled .Values.sync.enabled")
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.heading)


def listed(heading: str) -> list[list[str]]:
    """The numbered steps of a list, each with the files that it names."""
    steps = re.findall(r"^\d+\. (.+(?:\n   .+)*)", section(heading), re.MULTILINE)
    return [re.findall(r"`((?:\w+/)+[\w*./-]+|[\w-]+\.(?:yml|yaml|toml))`", step.partition(": ")[0]) for step in steps]


def section(heading: str) -> str:
    return PAGES["docs/architecture.md"].partition(f"### {heading}\n")[2].partition("\n### ")[0]


def naming(kind: Kind, root: Path, files: list[str]) -> set[str]:
    """The files that name the sample, are needed and are edited by hand."""
    pattern = re.compile(rf"(?<!\w){re.escape(kind.sample)}(?![\w])|{kind.declaration}", re.MULTILINE)
    left_out = (*GENERATED, *NOT_COUNTED, kind.optional)
    counted = [file for file in files if not any(fnmatch(file, it) for it in left_out)]
    return {file for file in counted if pattern.search((root / file).read_text("utf-8", "replace"))}


def listing_services(root: Path, files: list[str]) -> set[str]:
    """The files that name all services, however spelled: not a service's own, nor generated, nor prose, nor tests."""
    left_out = (*GENERATED, "*.md", "services/*", "docs/*", "tests/*")
    patterns = [re.compile(rf"(?<![a-z]){name}(?![a-z])", re.IGNORECASE) for name in SERVICES]
    found = set()
    for file in files:
        if not any(fnmatch(file, it) for it in left_out):
            text = re.sub("|".join(map(re.escape, PHRASES)), "", (root / file).read_text("utf-8", "replace"))
            parts = text.splitlines() if file in NO_LISTS else [text]
            found |= {file for part in parts if all(pattern.search(part) for pattern in patterns)}
    return found


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [file for file in done.stdout.splitlines() if (ROOT / file).is_file()]


@each_kind
def test_the_files_on_the_list_are_enough(kind: Kind) -> None:
    steps = listed(kind.heading)
    named = naming(kind, ROOT, tracked())
    unlisted = {file for file in named if not any(fnmatch(file, it) for step in steps for it in step)}
    assert not unlisted, "these have to be edited too"
    assert len(steps) == len(named) <= kind.goal, named
    for step in steps:
        assert any(fnmatch(file, it) for file in named for it in step), f"there is nothing to edit in {step}"


@each_kind
def test_one_more_file_is_noticed(kind: Kind, tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy/more.yaml").write_text(f"- {kind.sample}\n", "utf-8")
    assert naming(kind, tmp_path, ["deploy/more.yaml"]) == {"deploy/more.yaml"}


def test_the_files_that_list_the_services_are_named() -> None:
    named = [file for step in listed("A service") for file in step]
    assert listing_services(ROOT, tracked()) == set(named)
    assert len(named) <= MOST_FILES_OF_A_SERVICE
    assert f" {len(named)} files are edited" in section("A service")


@pytest.mark.parametrize(
    "text",
    [
        "for service in {names}; do",
        "{upper}_DB_PASSWORD",
        "- services/{name}/src",
        '"{name}": Program("{name}-api")',
        "{name}_svc",
    ],
)
def test_one_more_list_of_services_is_noticed(text: str, tmp_path: Path) -> None:
    lines = [text.format(names=" ".join(SERVICES), name=name, upper=name.upper()) for name in SERVICES]
    for file, content in {"deploy/more": "\n".join(lines), "deploy/some": " ".join(SERVICES[:-1])}.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(content, "utf-8")
    assert listing_services(tmp_path, ["deploy/more", "deploy/some"]) == {"deploy/more"}


@pytest.mark.parametrize("file", NO_LISTS)
def test_a_list_is_noticed_where_all_services_are_named_anyway(file: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    names = [f'"{name}"' for name in SERVICES]
    for text, is_list in (((ROOT / file).read_text("utf-8"), False), (f"list {' '.join(names)}", True)):
        (tmp_path / file).write_text(text, "utf-8")
        assert bool(listing_services(tmp_path, [file])) is is_list


def test_the_walkthrough_adds_to_what_is_there() -> None:
    """Each block follows the name of its file; the lines around an addition stand in that file, in this order."""
    text = PAGES["docs/walkthrough.md"]
    blocks = list(re.finditer(r"```diff\n(.*?)```", text, re.DOTALL))
    assert len(blocks) == 10
    for block in blocks:
        file = re.findall(r"`((?:\w[\w-]*/)*[\w-]+\.(?:py|yml|yaml|toml))`", text[: block.start()])[-1]
        content = (ROOT / file).read_text("utf-8")
        added = [line[1:] for line in block[1].splitlines() if line.startswith("+")]
        kept = [line[1:] for line in block[1].splitlines() if not line.startswith("+")]
        assert added
        assert "\n".join(kept) in content, f"{file} does not have {kept}"
