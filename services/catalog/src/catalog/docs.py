"""The pages for people: start page, problems, documentation and the merged OpenAPI document, with all their assets."""

import re
from base64 import b64encode
from collections.abc import Callable
from functools import cached_property, partial
from hashlib import sha256
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html, get_swagger_ui_oauth2_redirect_html
from starlette.responses import RedirectResponse, Response

from catalog.conditions import Conditions, ReadConditions

__all__ = ["router"]

TITLE = "Products API"
ICON = "/favicon.ico"
REVALIDATE = "no-cache"
FOR_EVER = "public, max-age=31536000, immutable"
SAFE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
NOTHING_ELSE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)


class _File:
    """A content that never changes, with a tag by which browsers ask whether they have it.

    It is read when it is first asked for, since the scripts of 2 MB would delay each start of a process. A page has a
    `policy`, which is what it may load beside scripts, as directives of Content-Security-Policy.
    """

    def __init__(self, read: Callable[[], bytes], media_type: str, policy: str = "") -> None:
        self._read = read
        self._media_type = media_type
        self._policy = policy

    @cached_property
    def body(self) -> bytes:
        return self._read()

    @cached_property
    def tag(self) -> str:
        return sha256(self.body).hexdigest()[:16]

    @cached_property
    def _headers(self) -> dict[str, str]:
        headers = SAFE | {"ETag": f'"{self.tag}"'}
        if self._policy:
            # No scripts but our own and those in the page itself.
            digests = (b64encode(sha256(script).digest()).decode() for script in _INLINE_SCRIPT.findall(self.body))
            scripts = " ".join(["script-src 'self'", *(f"'sha256-{digest}'" for digest in digests)])
            headers["Content-Security-Policy"] = "; ".join((NOTHING_ELSE, scripts, "connect-src 'self'", self._policy))
        return headers

    def answer(self, conditions: Conditions, cache: str = REVALIDATE) -> Response:
        headers = self._headers | {"Cache-Control": cache}
        if conditions.not_modified(headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return Response(self.body, media_type=self._media_type, headers=headers)


def _own(name: str) -> bytes:
    return (resources.files("catalog") / name).read_bytes()


def _packaged(name: str) -> bytes:
    # The package with Swagger UI and ReDoc. It is not imported, since only its files are needed.
    spec = find_spec("fastapi_offline")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "static" / name).read_bytes()


def _redoc_script() -> bytes:
    """ReDoc with our icon in place of its logo, which would come from another host."""
    return _packaged("redoc.standalone.js").replace(b"https://cdn.redoc.ly/redoc/logo-mini.svg", ICON.encode())


def _readme() -> bytes:
    # An image has it beside the pages, an editable install in the repository.
    here = Path(__file__).parent
    places = here / "pages" / "README.md", here / "../../../../README.md"
    return next((place.read_bytes() for place in places if place.is_file()), b"The README is in the repository.\n")


# By the path without a hash, which is how the pages are written.
_ASSETS = {
    "/docs/style.css": _File(partial(_own, "pages/style.css"), "text/css"),
    "/docs/start.js": _File(partial(_own, "pages/start.js"), "text/javascript"),
    "/docs/redoc.js": _File(_redoc_script, "text/javascript"),
    "/docs/assets/swagger-ui-bundle.js": _File(partial(_packaged, "swagger-ui-bundle.js"), "text/javascript"),
    "/docs/assets/swagger-ui.css": _File(partial(_packaged, "swagger-ui.css"), "text/css"),
}


def _hashed(path: str, tag: str) -> str:
    stem, _, suffix = path.rpartition("/")[2].rpartition(".")
    return f"/docs/assets/{stem}.{tag}.{suffix}"


def _page(read: Callable[[], bytes], policy: str = "style-src 'self'; img-src 'self'") -> _File:
    """A page that loads its assets by their hash."""

    def linked() -> bytes:
        body = read()
        for path, asset in _ASSETS.items():
            name = f'"{path}"'.encode()
            if name in body:
                body = body.replace(name, f'"{_hashed(path, asset.tag)}"'.encode())
        return body

    return _File(linked, "text/html", policy)


def _swagger_ui() -> bytes:
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=TITLE,
        oauth2_redirect_url="/docs/oauth2-redirect",
        swagger_js_url="/docs/assets/swagger-ui-bundle.js",
        swagger_css_url="/docs/assets/swagger-ui.css",
        swagger_favicon_url=ICON,
        # No validator on another host; a login survives a reload.
        swagger_ui_parameters={"validatorUrl": None, "persistAuthorization": True},
    )
    return bytes(page.body)


def _redoc() -> bytes:
    page = get_redoc_html(
        openapi_url="/openapi.json",
        title=TITLE,
        redoc_js_url="/docs/redoc.js",
        redoc_favicon_url=ICON,
        with_google_fonts=False,
    )
    return bytes(page.body)


_PAGES = {
    "/": _page(partial(_own, "pages/index.html")),
    "/problems": _page(partial(_own, "pages/problems.html")),
    "/docs/README.md": _File(_readme, "text/plain"),
    ICON: _File(partial(_own, "pages/favicon.svg"), "image/svg+xml"),
    "/openapi.json": _File(partial(_own, "openapi.json"), "application/json"),
    # Its icons are in its styles.
    "/docs": _page(_swagger_ui, "style-src 'self'; img-src 'self' data:"),
    "/docs/oauth2-redirect": _page(lambda: bytes(get_swagger_ui_oauth2_redirect_html().body)),
    # It writes style elements, and searches in a worker that it makes of a text.
    "/redoc": _page(_redoc, "style-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src blob:"),
}

router = APIRouter(include_in_schema=False)


def _serve(path: str, file: _File) -> None:
    # A release may change any of them, so browsers revalidate.
    async def served(conditions: ReadConditions) -> Response:
        return file.answer(conditions)

    router.add_api_route(path, served)


def _serve_hashed(path: str, file: _File) -> None:
    async def served(tag: str, conditions: ReadConditions) -> Response:
        # Another hash is of the page of another release, in an open tab or from another replica during an upgrade. It
        # gets this content, which must not be kept under that name.
        return file.answer(conditions, FOR_EVER if tag == file.tag else REVALIDATE)

    router.add_api_route(_hashed(path, "{tag}"), served)


for _path, _file in (_PAGES | _ASSETS).items():
    _serve(_path, _file)
for _path, _file in _ASSETS.items():
    _serve_hashed(_path, _file)


@router.get("/docs/")
async def docs() -> Response:
    return RedirectResponse("/docs", 308)


@router.get("/redoc/")
async def redoc() -> Response:
    return RedirectResponse("/redoc", 308)
