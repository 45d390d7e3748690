"""docs/examples/provider is a package of its own: it is built, installed, found, tested and read from."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from sync.providers import ProviderConfig, ProviderMisconfigured, describe, known, load
from sync.testing import ProviderContract
from tests.unit.sync.loopback import Asked, answer, serving

EXAMPLE = Path(__file__).parents[2] / "docs/examples/provider"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the package."""
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
            "--disable-pip-version-check", "--target", target, EXAMPLE,
        ],
        check=True,
    )  # fmt: skip
    return target


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "acme_shop", raising=False)


def shop(asked: Asked) -> httpx.Response:
    if asked.headers.get("authorization") != "Bearer hush-hush":
        return answer({}, status=401)
    start, size = int(asked.params.get("after", "0")), int(asked.params["limit"])
    end = min(start + size, 25)
    found = [
        {"code": number, "label": f"Lamp {number}", "price": {"gross": 12.5}, "department": "lights", "left": -1}
        for number in range(start, end)
    ]
    return answer({"articles": found, "after": str(end) if end < 25 else None})


def test_its_own_tests_pass(site: Path, tmp_path: Path) -> None:
    """In a process that has the package from its installation alone."""
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", EXAMPLE / "pyproject.toml",
         EXAMPLE / "tests"],
        env=os.environ | {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    checks = [name for name in dir(ProviderContract) if name.startswith("test_")]
    assert f"{len(checks)} passed" in result.stdout, result.stdout


@pytest.mark.usefixtures("installed")
async def test_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_ACME", "hush-hush")
    options: dict[str, Any] = {"currency": "SEK", "auth": {"kind": "bearer", "token": {"env": "SOURCE_ACME"}}}
    assert "acme-shop" in known()
    async with serving(shop) as server:
        provider = load("acme-shop", ProviderConfig(url=server("/v2/articles"), options=options, page_size=10))
        pages = [page async for page in provider.pages()]
        await provider.aclose()
    assert [len(page.items) for page in pages] == [10, 10, 5]
    assert {(item.currency, item.stock) for page in pages for item in page.items} == {("SEK", None)}
    assert pages[0].dropped_fields == 10


@pytest.mark.usefixtures("installed")
def test_its_options() -> None:
    assert set(describe("acme-shop")["$defs"]["AcmeOptions"]["properties"]) == {"currency", "auth"}
    with pytest.raises(ProviderMisconfigured, match=r"options\.currency: must be one of EUR, SEK\."):
        load("acme-shop", ProviderConfig(url="https://source.test/", options={"currency": "USD"}))
