"""The start page, the list of problems, and the two readers of OpenAPI: complete, and without any other host."""

import os
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

import auth.errors
import sync.errors
from catalog import errors as catalog_errors
from common.web.errors import ApiError

PAGES = ("/", "/problems", "/docs", "/redoc", "/docs/start.js", "/docs/style.css", "/docs/README.md", "/favicon.ico")
HTML = ("/", "/problems", "/docs", "/docs/oauth2-redirect", "/redoc")
# As the pages of the releases before hashes ask for them.
PLAIN = (
    "/docs/style.css", "/docs/start.js", "/docs/redoc.js",
    "/docs/assets/swagger-ui-bundle.js", "/docs/assets/swagger-ui.css",
)  # fmt: skip
HASHED = re.compile(r"/docs/assets/([\w-]+)\.([0-9a-f]{16})\.(js|css)")


class Scripts(HTMLParser):
    """`inline` are the texts of the scripts in a page, as a browser reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.inline: list[str] = []
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "script" and "src" not in dict(attrs)

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.inline.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = False


async def loaded(client: httpx.AsyncClient) -> dict[str, str]:
    """The assets that the pages load: the name without a hash, and the path."""
    text = "".join([(await client.get(page)).text for page in HTML])
    return {f"{found[1]}.{found[3]}": found[0] for found in HASHED.finditer(text)}


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


@pytest.mark.parametrize("path", HTML)
async def test_a_page_runs_only_its_own_scripts_and_is_in_no_frame(catalog: httpx.AsyncClient, path: str) -> None:
    answer = await catalog.get(path)
    directives = [directive.split() for directive in answer.headers["content-security-policy"].split(";")]
    policy = {name: sources for name, *sources in directives}

    assert policy["default-src"] == policy["frame-ancestors"] == ["'none'"]
    assert policy["connect-src"] == ["'self'"]
    digests = [b64encode(sha256(script.encode()).digest()).decode() for script in Scripts(answer.text).inline]
    assert policy["script-src"] == ["'self'", *(f"'sha256-{digest}'" for digest in digests)]
    assert bool(digests) == (path in {"/docs", "/docs/oauth2-redirect"})
    assert ("'unsafe-inline'" in policy["style-src"]) == (path == "/redoc")
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_no_media_type_is_guessed(catalog: httpx.AsyncClient) -> None:
    for path in {*PAGES, *HTML, *PLAIN, *(await loaded(catalog)).values()}:
        assert (await catalog.get(path)).headers["x-content-type-options"] == "nosniff", path


async def test_pages_load_assets_by_their_hash_which_browsers_keep(catalog: httpx.AsyncClient) -> None:
    assets = await loaded(catalog)

    assert set(assets) == {path.rpartition("/")[2] for path in PLAIN}
    for path in assets.values():
        answer = await catalog.get(path)
        digest = HASHED.fullmatch(path)
        assert digest
        assert sha256(answer.content).hexdigest().startswith(digest[2])
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable", path


@pytest.mark.parametrize("path", PLAIN)
async def test_pages_of_other_releases_get_the_assets_of_this_one(catalog: httpx.AsyncClient, path: str) -> None:
    name = path.rpartition("/")[2]
    current = (await loaded(catalog))[name]
    other = "/docs/assets/" + name.replace(".", ".0123456789abcdef.")

    expected = await catalog.get(current)
    for asked in (path, other):
        answer = await catalog.get(asked)
        assert answer.headers["cache-control"] == "no-cache", asked
        assert answer.headers["content-type"] == expected.headers["content-type"]
        assert answer.content == expected.content


async def test_an_unknown_asset_is_not_found(catalog: httpx.AsyncClient) -> None:
    for name in ("nothing.js", "nothing.0123456789abcdef.js", "style.0123456789abcdef.js"):
        assert (await catalog.get(f"/docs/assets/{name}")).status_code == 404, name


async def test_what_a_browser_has_is_not_sent_again(catalog: httpx.AsyncClient) -> None:
    for path in {*PAGES, *HTML, *PLAIN, "/openapi.json", *(await loaded(catalog)).values()}:
        first = await catalog.get(path)
        # The gateway makes the tag a weak one where it compresses.
        again = await catalog.get(path, headers={"If-None-Match": f"W/{first.headers['etag']}"})

        assert (again.status_code, again.content) == (304, b""), path
        kept = ("etag", "cache-control", "content-security-policy")
        assert [again.headers.get(name) for name in kept] == [first.headers.get(name) for name in kept]
        assert (await catalog.get(path, headers={"If-None-Match": '"other"'})).status_code == 200


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
    code = "import catalog.docs; print(catalog.docs.__file__, catalog.docs._readme())"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(copy))
    assert "README is in the repository" in done.stdout
