"""Helpful errors for requests that no route takes."""

from collections.abc import Iterable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import BaseRoute, Match, Route

from common.web.errors import ApiError, MethodNotAllowed, NotFound

__all__ = ["explain"]

# A longer path is no typing error.
MAX_PATH = 256


def explain(request: Request, error: HTTPException) -> HTTPException:
    """A 405 that names all methods of the path, or a 404 that names the path that was meant."""
    routes = request.app.router.routes
    path, method = request.scope["path"], request.scope["method"]
    if error.status_code == 405:
        return MethodNotAllowed(method, _methods(routes, request, path))
    return _not_found(routes, request, path) or error


def _not_found(routes: Iterable[BaseRoute], request: Request, path: str) -> ApiError | None:
    if len(path) > MAX_PATH:
        return None
    bare = path.rstrip("/") or "/"
    for meant in (bare, path.lower(), bare.lower()):
        if meant != path and _methods(routes, request, meant):
            return NotFound(f"Nothing is served under this path; {meant} is.")
    return None


def _methods(routes: Iterable[BaseRoute], request: Request, path: str) -> list[str]:
    """All methods of the documented routes that `path` leads to."""
    scope = {**request.scope, "path": path, "root_path": ""}
    found = {
        method
        for route in routes
        if isinstance(route, Route) and route.methods and route.matches(scope)[0] is not Match.NONE
        for method in route.methods
    }
    if "GET" in found:
        found.add("HEAD")
    return sorted(found | {"OPTIONS"}) if found else []
