"""/health says whether this service can work now; /livez that the process runs."""

from fastapi import APIRouter
from starlette.responses import Response

from common.health import not_ready
from common.web.problems import problem
from common.web.routing import make_router
from common.web.state import StateRequest
from common.web.strict_json import JSONResponse

__all__ = ["router"]


def router(path: str) -> APIRouter:
    """`/health` and `/livez` for probes, and the same health under the `path` that clients know."""
    made = make_router("health")
    made.add_api_route("/livez", livez, include_in_schema=False)
    made.add_api_route(path, health, summary="Readiness, with each dependency")
    if path != "/health":
        made.add_api_route("/health", health, include_in_schema=False)
    return made


async def health(request: StateRequest) -> Response:
    """200 when the service can work (`ok`, or `degraded` without Redis), else 503."""
    report = await request.state["health"].report()
    if report["status"] in ("ok", "degraded"):
        return JSONResponse(report, headers={"Cache-Control": "no-store"})
    detail, members = not_ready(report)
    headers = {"Retry-After": "1", "Cache-Control": "no-store"}
    return problem(request.scope, 503, detail, title="Not ready", headers=headers, members=members)


async def livez() -> Response:
    return JSONResponse({"status": "ok"})
