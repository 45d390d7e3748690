"""The start page, the list of problems, and the two readers of OpenAPI: complete, and without any other host."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import auth.errors
import sync.errors
from catalog import errors as catalog_errors
from common.web.errors import ApiError

PAGES = ("/", "/problems", "/docs", "/redoc", "/docs/start.js", "/docs/style.css", "/docs/README.md", "/favicon.ico")


def kinds(base: type[ApiError]) -> Iterator[type[ApiError]]:
    for error in base.__subclasses__():
        yield error
        yield from kinds(error)


@pytest.mark.parametrize("path", PAGES)
async def test_pages_are_served_and_may_be_kept_only_after_asking(catalog: httpx.AsyncClient, path: str) -> None:
    answer = await catalog.get(path)

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache"
    assert len(answer.content) > 200


@pytest.mark.parametrize(
    "path", ["/", "/problems", "/docs", "/redoc", "/docs/start.js", "/docs/style.css", "/docs/redoc.js"]
)
async def test_no_page_loads_anything_from_another_host(catalog: httpx.AsyncClient, path: str) -> None:
    text = (await catalog.get(path)).text

    assert not re.findall(
        r"""(?:src|href|srcSet)\s*[=:]\s*["'`](?:https?:)?//[^"'`]*\.(?:js|css|svg|png|ico|woff2?)""", text
    )
    assert not re.findall(r"""(?:url\(|@import |import )["']?(?:https?:)?//""", text)


@pytest.mark.parametrize("path", ["/", "/problems"])
async def test_links_of_our_pages_lead_somewhere(catalog: httpx.AsyncClient, path: str) -> None:
    text = (await catalog.get(path)).text
    links = {link for link in re.findall(r'(?:href|src)="([^"]+)"', text) if not re.match("/(auth|sync)/", link)}

    assert {"/", "/docs", "/redoc", "/openapi.json", "/docs/README.md"} - {"/"} <= links or path != "/"
    for link in links:
        assert link.startswith("/")
        assert (await catalog.get(link)).status_code == 200, link


async def test_each_kind_of_problem_has_its_row(catalog: httpx.AsyncClient) -> None:
    assert auth.errors
    assert catalog_errors
    assert sync.errors  # imported, so that their kinds are known
    page = (await catalog.get("/problems")).text
    rows = dict(re.findall(r'<tr id="([\w-]+)"><td><code>[\w-]+</code></td><td>(\d+)</td>', page))

    assert rows == {error.slug: str(error.status) for error in kinds(ApiError) if error.slug}
    statuses = {str(error.status) for error in kinds(ApiError)}
    assert statuses <= set(re.findall(r"<td>(\d{3})</td>", page))


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_a_slash_at_the_end_leads_to_the_page(catalog: httpx.AsyncClient, path: str) -> None:
    answer = await catalog.get(f"{path}/")

    assert (answer.status_code, answer.headers["location"]) == (308, path)


async def test_authorize_in_docs_survives_a_reload(catalog: httpx.AsyncClient) -> None:
    assert '"persistAuthorization": true' in (await catalog.get("/docs")).text


def test_an_installed_package_far_from_the_repository_can_be_imported(tmp_path: Path) -> None:
    """As in the image, where there is no repository around it."""
    copy = tmp_path / "catalog"
    shutil.copytree(Path(catalog_errors.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    code = "import catalog.docs; print(catalog.docs.__file__, bytes(catalog.docs._readme().body))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(copy))
    assert "README is in the repository" in done.stdout
