"""The pages for people: start page, problems, documentation and the merged OpenAPI document, with all their assets."""

from functools import cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html, get_swagger_ui_oauth2_redirect_html
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

__all__ = ["router"]

TITLE = "Products API"
ICON = "/favicon.ico"


def _assets() -> Path:
    # The package with Swagger UI and ReDoc. It is not imported, since only its files are needed.
    spec = find_spec("fastapi_offline")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "static"


def _file(path: str, media_type: str) -> Response:
    return Response((resources.files("catalog") / path).read_bytes(), media_type=media_type)


def _readme() -> Response:
    # An image has it beside the pages, an editable install in the repository.
    here = Path(__file__).parent
    places = here / "pages" / "README.md", here / "../../../../README.md"
    text = next((place.read_bytes() for place in places if place.is_file()), b"The README is in the repository.\n")
    return Response(text, media_type="text/plain")


router = APIRouter(include_in_schema=False)
_PAGES = {
    "/": _file("pages/index.html", "text/html"),
    "/problems": _file("pages/problems.html", "text/html"),
    "/docs/style.css": _file("pages/style.css", "text/css"),
    "/docs/start.js": _file("pages/start.js", "text/javascript"),
    "/docs/README.md": _readme(),
    ICON: _file("pages/favicon.svg", "image/svg+xml"),
    "/openapi.json": _file("openapi.json", "application/json"),
    "/docs": get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=TITLE,
        oauth2_redirect_url="/docs/oauth2-redirect",
        swagger_js_url="/docs/assets/swagger-ui-bundle.js",
        swagger_css_url="/docs/assets/swagger-ui.css",
        swagger_favicon_url=ICON,
        # No validator on another host; a login survives a reload.
        swagger_ui_parameters={"validatorUrl": None, "persistAuthorization": True},
    ),
    "/docs/oauth2-redirect": get_swagger_ui_oauth2_redirect_html(),
    "/redoc": get_redoc_html(
        openapi_url="/openapi.json",
        title=TITLE,
        redoc_js_url="/docs/redoc.js",
        redoc_favicon_url=ICON,
        with_google_fonts=False,
    ),
}


def _serve(path: str, page: Response) -> None:
    async def served() -> Response:
        return page

    # A release may change any page, so browsers revalidate.
    page.headers["Cache-Control"] = "no-cache"

    router.add_api_route(path, served)


for _path, _page in _PAGES.items():
    _serve(_path, _page)


@router.get("/docs/")
async def docs() -> Response:
    return RedirectResponse("/docs", 308)


@router.get("/redoc/")
async def redoc() -> Response:
    return RedirectResponse("/redoc", 308)


@router.get("/docs/redoc.js")
async def redoc_script() -> Response:
    return Response(_redoc_script(), media_type="text/javascript", headers={"Cache-Control": "public, max-age=3600"})


@cache
def _redoc_script() -> bytes:
    """ReDoc with our icon in place of its logo, which would come from another host."""
    script = (_assets() / "redoc.standalone.js").read_bytes()
    return script.replace(b"https://cdn.redoc.ly/redoc/logo-mini.svg", ICON.encode())


router.routes.append(Mount("/docs/assets", StaticFiles(directory=_assets())))
