"""/health says whether this service can work now; /livez that the process runs."""

from typing import Annotated, Any, Literal, NotRequired

from fastapi import APIRouter, Depends, Request
from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from common.health import Health, not_ready
from common.web.openapi import Problem, problem_responses
from common.web.problems import problem
from common.web.routing import make_router
from common.web.state import StateRequest
from common.web.strict_json import JSONResponse

__all__ = ["HealthReport", "router"]


class CheckResult(TypedDict):
    """One dependency. Without one that is `critical` the service cannot work."""

    status: Literal["ok", "failed"]
    critical: bool
    latency_ms: float
    detail: NotRequired[Annotated[str, Field(description="What failed, and what an operator can do about it.")]]


class _Checked(TypedDict):
    service: str
    version: str
    checks: dict[str, CheckResult]


class HealthReport(_Checked):
    """The service can work; `degraded` says that a dependency is down which it can work without."""

    status: Literal["ok", "degraded"]


class HealthProblem(Problem, _Checked):
    """The service cannot work: it lacks a critical dependency, or is about to end (`draining`)."""

    state: Literal["unavailable", "draining"]


def router(checks: Health, report: Any = HealthReport) -> APIRouter:
    """`/health` and `/livez` for probes, and the same health under the path that clients know.

    `report` is the schema of its answer, for a service that adds facts of its own.
    """
    made = make_router("health")
    made.add_api_route("/livez", livez, include_in_schema=False)
    made.add_api_route(
        checks.path,
        health,
        summary=f"Readiness of {checks.service}, with each dependency",
        operation_id=f"get_{checks.service}_health",
        response_model=None,
        responses={200: {"model": report}, **problem_responses(503, model=HealthProblem | Problem)},
    )
    if checks.path != "/health":
        made.add_api_route("/health", health, include_in_schema=False)
    return made


async def _checks(request: StateRequest) -> Health:
    return request.state["health"]


async def health(request: Request, checks: Annotated[Health, Depends(_checks)]) -> Response:
    """200 when the service can work (`ok`, or `degraded` without Redis), else 503."""
    report = await checks.report()
    if report["status"] in ("ok", "degraded"):
        return JSONResponse(report, headers={"Cache-Control": "no-store"})
    detail, members = not_ready(report)
    headers = {"Retry-After": "1", "Cache-Control": "no-store"}
    return problem(request.scope, 503, detail, title="Not ready", headers=headers, members=members)


async def livez() -> Response:
    return JSONResponse({"status": "ok"})
