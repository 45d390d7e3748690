"""Errors -> application/problem+json (RFC 9457), for every 4xx and 5xx, in one place."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, get_args

import redis.exceptions
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from common.grouped_reads import TooManyReads
from common.json_encoding import dumps
from common.request_ids import request_id as current_request_id
from common.web.errors import ApiError, MethodNotAllowed, Unavailable
from common.web.postgres_errors import error_types, is_bad_value, is_unavailable, retry_advice
from common.web.unmatched import explain
from common.web.validation import unprocessable

__all__ = ["install", "problem", "problem_body", "to_response"]

log = logging.getLogger(__name__)


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
    instance = scope.get("raw_path", b"").partition(b"?")[0].decode("ascii", "replace")[:1024]
    body = problem_body(status, detail, slug=slug, title=title, instance=instance, members=members)
    return Response(body, status, dict(headers or {}), media_type="application/problem+json")


def problem_body(
    status: int,
    detail: str | None,
    *,
    slug: str | None = None,
    title: str | None = None,
    instance: str = "",
    request_id: str | None = None,
    members: Mapping[str, Any] | None = None,
) -> bytes:
    """A problem as JSON. Its `type` leads to the page that lists all kinds, where it has one of its own."""
    body: dict[str, Any] = {
        "type": f"/problems#{slug}" if slug else "about:blank",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": instance,
        "request_id": request_id or current_request_id.get(),
        **(members or {}),
    }
    return dumps(body)


def to_response(scope: Scope, error: BaseException) -> Response:
    """Map an exception to a problem; an unknown one is logged and answered as 500."""
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
        return to_response(scope, unprocessable(error.errors(), _fields(scope)))
    if isinstance(error, HTTPException):
        detail = None if error.detail == HTTPStatus(error.status_code).phrase else error.detail
        return problem(scope, error.status_code, detail, headers=error.headers)
    if is_unavailable(error) or isinstance(error, redis.exceptions.RedisError):
        log.warning("dependency failed: %s: %s", type(error).__name__, str(error).partition("\n")[0])
        return to_response(scope, Unavailable(retry_advice(error)))
    if isinstance(error, TooManyReads):
        return to_response(scope, Unavailable("Too many reads at the same time; try again."))
    if is_bad_value(error):
        log.warning("value refused: %s", type(error).__name__, exc_info=error)
        return problem(scope, 422, "A value cannot be stored.", slug="validation", members={"errors": []})
    log.error("unhandled error", exc_info=error)
    return problem(scope, 500, "Internal server error. Quote this request_id.")


def _fields(scope: Scope) -> list[str]:
    """The names of the fields that the body of a route may have."""
    body = getattr(scope.get("route"), "body_field", None)
    kind = body.field_info.annotation if body else None
    models = [it for it in (kind, *get_args(kind)) if isinstance(it, type) and issubclass(it, BaseModel)]
    return [name for model in models for name in model.model_fields]


async def _handle_http(request: Request, error: Exception) -> Response:
    """What the router found no route for: 405 and 404 say what there is instead, OPTIONS is answered."""
    if isinstance(error, HTTPException) and not isinstance(error, ApiError) and error.status_code in (404, 405):
        error = explain(request, error)
        if isinstance(error, MethodNotAllowed) and request.method == "OPTIONS":
            return Response(status_code=204, headers=error.headers)
    return to_response(request.scope, error)


async def _handle(request: Request, error: Exception) -> Response:
    return to_response(request.scope, error)


def install(app: FastAPI) -> None:
    """Answer every error of `app` as a problem."""
    # Exception alone would go to Starlette's outermost layer, which raises it again after answering.
    for kind in (RequestValidationError, Exception, *error_types(), redis.exceptions.RedisError):
        app.add_exception_handler(kind, _handle)
    app.add_exception_handler(HTTPException, _handle_http)
