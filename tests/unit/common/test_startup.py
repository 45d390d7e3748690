"""Imports without garbage collection, and what FastAPI makes only for an OpenAPI document."""

import subprocess
import sys
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from common.web.openapi import problem_responses
from common.web.routing import make_router

STATE = """
import gc
from common.startup import import_fastapi, lean_imports

with lean_imports():
    collecting = gc.isenabled()
    import_fastapi()
    from fastapi.openapi.models import OpenAPI
    from pydantic import BaseModel

    class Own(BaseModel):
        name: str
print(collecting, gc.isenabled(), gc.get_freeze_count() > 10_000)
print(OpenAPI.__pydantic_complete__, Own.__pydantic_complete__)
"""


def test_nothing_is_collected_and_no_document_is_prepared() -> None:
    done = subprocess.run([sys.executable, "-c", STATE], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "True", "True", "False", "True"]


def schemas(answer: dict[str, Any]) -> Any:
    return answer["content"]["application/json"]["schema"]


async def test_documented_answers_are_made_for_the_document() -> None:
    router = make_router("things")

    @router.get("/things", responses=problem_responses(404))
    async def list_things() -> list[str]:
        return []

    (route,) = router.routes
    assert isinstance(route, APIRoute)
    assert "response_fields" not in vars(route)
    app = FastAPI()
    app.router.routes.extend(router.routes)
    answers = app.openapi()["paths"]["/things"]["get"]["responses"]
    assert schemas(answers["404"]) == {"$ref": "#/components/schemas/Problem"}
    assert schemas(answers["422"]) == {"$ref": "#/components/schemas/ValidationProblem"}
