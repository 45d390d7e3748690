"""Errors -> application/problem+json (RFC 9457), for every 4xx and 5xx, in one place."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import psycopg
import redis.exceptions
import sqlalchemy.exc
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from psycopg_pool import PoolTimeout
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from common import context
from common.db import dependency_failed, value_refused
from common.errors import ApiError, Unavailable, Unprocessable
from common.json import dumps

__all__ = ["Problem", "describe", "install", "problem", "respond"]

log = logging.getLogger(__name__)


class Problem(BaseModel):
    """An error, RFC 9457. 422 adds `errors`: each with a JSON `pointer` or a `parameter`, and a `detail`."""

    type: str
    title: str
    status: int
    detail: str | None = None
    instance: str
    request_id: str
    errors: list[dict[str, str]] | None = None


def problem(
    scope: Scope,
    status: int,
    detail: str | None,
    *,
    slug: str | None = None,
    title: str | None = None,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> Response:
    """The answer to a failed request; `members` are extension members."""
    body: dict[str, Any] = {
        "type": f"urn:products-api:problem:{slug}" if slug else "about:blank",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": scope.get("raw_path", b"").partition(b"?")[0].decode("ascii", "replace")[:1024],
        "request_id": context.request_id.get(),
        **(members or {}),
    }
    return Response(dumps(body), status, dict(headers or {}), media_type="application/problem+json")


def respond(scope: Scope, error: BaseException) -> Response:
    """The answer that `error` deserves; what is nobody's known fault becomes a logged 500."""
    if isinstance(error, ApiError):
        return problem(
            scope,
            error.status,
            error.detail,
            slug=error.slug,
            title=error.problem_title(),
            headers=error.headers,
            members=error.members,
        )
    if isinstance(error, RequestValidationError):
        return respond(scope, _unprocessable(error))
    if isinstance(error, HTTPException):
        detail = None if error.detail == HTTPStatus(error.status_code).phrase else error.detail
        return problem(scope, error.status_code, detail, headers=error.headers)
    if dependency_failed(error) or isinstance(error, redis.exceptions.RedisError):
        log.warning("dependency failed: %s: %s", type(error).__name__, str(error).partition("\n")[0])
        return respond(scope, Unavailable("A dependency does not answer; try again."))
    if value_refused(error):
        log.warning("value refused: %s", type(error).__name__, exc_info=error)
        return problem(scope, 422, "A value cannot be stored.", slug="validation", members={"errors": []})
    log.error("unhandled error", exc_info=error)
    return problem(scope, 500, "An error of ours; the log has it under this request_id.")


def _unprocessable(error: RequestValidationError) -> Unprocessable:
    # `input` and `ctx` are left out: what came in may be secret, or not encodable.
    errors = []
    for fault in error.errors():
        where, *path = (str(part).replace("~", "~0").replace("/", "~1") for part in fault["loc"])
        place = {"pointer": "#" + "".join(f"/{part}" for part in path)} if where == "body" else {"parameter": path[0]}
        errors.append(place | {"detail": fault["msg"].removeprefix("Value error, ")})
    first = errors[0]
    return Unprocessable(f"{first.get('parameter') or first.get('pointer')}: {first['detail']}", errors)


async def _handle(request: Request, error: Exception) -> Response:
    return respond(request.scope, error)


def install(app: FastAPI) -> None:
    """Answer every error of `app` as a problem."""
    # Exception alone would go to Starlette's outermost layer, which raises it again after answering.
    dependencies = (psycopg.Error, sqlalchemy.exc.SQLAlchemyError, PoolTimeout, OSError, redis.exceptions.RedisError)
    for kind in (HTTPException, RequestValidationError, Exception, *dependencies):
        app.add_exception_handler(kind, _handle)


def describe(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` for the problems that a route may answer; 503 always belongs."""
    schema = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": schema} for status in (*statuses, 503)}
