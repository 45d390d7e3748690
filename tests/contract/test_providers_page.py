"""docs/providers.md: its examples are what the tests run, and its tables are what the code says."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sync.providers import Page, ProviderConfig, describe, known
from sync.providers.file import File
from sync.testing import ProviderContract
from tests.unit.sync.shops import SHOPS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/providers.md").read_text("utf-8")
EXAMPLE = "docs/examples/provider"


def example(heading: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(TEXT.partition(f"```json {heading}\n")[2].partition("```")[0])
    return found


@pytest.mark.parametrize("kind", SHOPS)
def test_each_paging_is_an_example_that_is_read_from_a_server(kind: str) -> None:
    """`tests/unit/sync/test_rest.py` reads these shops by these options."""
    assert example(f"rest {kind}") == SHOPS[kind].options


async def test_the_example_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "liste.csv").write_bytes(
        "Artikel;Bezeichnung 1;Preis;Gruppe;Bestand\nA1;Stühle;12.50;;7\n".encode("latin-1")
    )
    provider = File(ProviderConfig(url="file:liste.csv", options=example("file"), files_folder=str(tmp_path)))
    pages: list[Page] = [page async for page in provider.pages()]
    [item] = pages[0].items
    assert (item.name, str(item.price), item.currency, item.category, item.stock) == (
        "Stühle", "12.50", "EUR", "Sonstiges", 7
    )  # fmt: skip


@pytest.mark.parametrize("path", ["pyproject.toml", "src/acme_shop/__init__.py", "tests/test_acme_shop.py"])
def test_the_provider_of_a_package_is_shown_as_it_is(path: str) -> None:
    """`tests/contract/test_example_provider.py` installs and runs it."""
    file = f"{EXAMPLE}/{path}"
    assert f"\n# {file}\n{(ROOT / file).read_text('utf-8')}```" in TEXT


def test_every_provider_is_listed() -> None:
    table = TEXT.partition("| provider |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(known())


@pytest.mark.parametrize(("name", "heading"), [("rest", "## rest"), ("file", "## file")])
def test_every_option_is_listed(name: str, heading: str) -> None:
    section = TEXT.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    schema = describe(name)
    options = schema["$defs"][f"{name.title()}Options"]["properties"]
    assert set(re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", section, re.MULTILINE)) >= set(options)
    for definition in schema["$defs"].values():
        if "kind" in definition.get("properties", {}):
            assert f"| `{definition['properties']['kind']['enum'][0]}` |" in TEXT
            for option in definition["properties"].keys() - {"kind"}:
                assert f"`{option}`" in TEXT, option


def test_the_limits() -> None:
    defaults = {field.name: field.default for field in msgspec.structs.fields(ProviderConfig)}
    rows = {
        "records of a page": "page_size",
        "bytes of a page": "max_page_bytes",
        "pages of a pass": "max_pages",
        "records of a pass": "max_records",
        "bytes of a pass": "max_bytes",
    }
    for text, name in rows.items():
        assert f"| {text} | {defaults[name]:,} |".replace(",", " ") in TEXT
    assert defaults["max_requests_per_second"] is None


def test_the_kit_is_public() -> None:
    assert ProviderContract.__module__.startswith("sync.testing")
