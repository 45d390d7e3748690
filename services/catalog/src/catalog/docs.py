"""One merged OpenAPI document for all services, and its pages; every asset is served from here."""

from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html, get_swagger_ui_oauth2_redirect_html
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

__all__ = ["router"]

TITLE = "Products API"


def _assets() -> Path:
    # The package that ships Swagger UI and ReDoc; found, not imported, since only its files are wanted.
    spec = find_spec("fastapi_offline")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "static"


router = APIRouter(include_in_schema=False)
_spec = Response(
    (resources.files("catalog") / "openapi.json").read_bytes(),
    media_type="application/json",
    headers={"Cache-Control": "no-cache"},
)
_swagger = get_swagger_ui_html(
    openapi_url="/openapi.json",
    title=TITLE,
    oauth2_redirect_url="/docs/oauth2-redirect",
    swagger_js_url="/docs/assets/swagger-ui-bundle.js",
    swagger_css_url="/docs/assets/swagger-ui.css",
    swagger_favicon_url="/docs/assets/favicon.png",
)
_redoc = get_redoc_html(
    openapi_url="/openapi.json",
    title=TITLE,
    redoc_js_url="/docs/assets/redoc.standalone.js",
    redoc_favicon_url="/docs/assets/favicon.png",
    with_google_fonts=False,
)


@router.get("/openapi.json")
async def openapi() -> Response:
    return _spec


@router.get("/docs")
async def swagger() -> Response:
    return _swagger


@router.get("/docs/oauth2-redirect")
async def oauth2_redirect() -> Response:
    return get_swagger_ui_oauth2_redirect_html()


@router.get("/redoc")
async def redoc() -> Response:
    return _redoc


router.routes.append(Mount("/docs/assets", StaticFiles(directory=_assets())))
