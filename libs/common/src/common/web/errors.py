"""The errors of HTTP responses, as types.

ApiError
├── BadRequest 400
│   └── InvalidJSON
├── Unauthenticated 401
├── Forbidden 403
├── NotFound 404
├── MethodNotAllowed 405
├── RequestTimeout 408
├── Conflict 409
├── PreconditionFailed 412
├── BodyTooLarge 413
├── UriTooLong 414
├── UnsupportedMediaType 415
├── Unprocessable 422
├── TooManyRequests 429
├── HeadersTooLarge 431
└── Unavailable 503

Services subclass these (`class ProductNotFound(NotFound)`); `common.web.problems` turns each into RFC 9457
problem+json, in one place.
"""

from http import HTTPStatus
from typing import Any, ClassVar

from starlette.exceptions import HTTPException

__all__ = [
    "ApiError",
    "BadRequest",
    "BodyTooLarge",
    "Conflict",
    "Forbidden",
    "HeadersTooLarge",
    "InvalidJSON",
    "MethodNotAllowed",
    "NotFound",
    "PreconditionFailed",
    "RequestTimeout",
    "TooManyRequests",
    "Unauthenticated",
    "Unavailable",
    "Unprocessable",
    "UnsupportedMediaType",
    "UriTooLong",
]


class ApiError(HTTPException):
    """Base of all errors with a response. `slug` is the fragment of its `type`; without one that is `about:blank`.

    A subclass of Starlette's HTTPException, the only exception that FastAPI does not replace while it reads a body.
    """

    status: ClassVar[int] = 500
    slug: ClassVar[str | None] = None
    title: ClassVar[str | None] = None

    def __init__(self, detail: str, *, headers: dict[str, str] | None = None, **members: Any) -> None:
        super().__init__(self.status, detail, headers)
        self.members = members

    @classmethod
    def problem_title(cls) -> str:
        return cls.title or HTTPStatus(cls.status).phrase


class BadRequest(ApiError):
    status = 400


class InvalidJSON(BadRequest):
    slug, title = "invalid-json", "The body is not acceptable JSON"


class Unauthenticated(ApiError):
    """401 with the challenge of RFC 6750; `code` is its `error` parameter, absent when no token was sent."""

    status = 401

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        challenge = 'Bearer realm="products-api"' + (f', error="{code}"' if code else "")
        super().__init__(detail, headers={"WWW-Authenticate": challenge})


class Forbidden(ApiError):
    status = 403


class NotFound(ApiError):
    status = 404


class MethodNotAllowed(ApiError):
    """405; `allowed` are all methods of the path."""

    status = 405

    def __init__(self, method: str, allowed: list[str]) -> None:
        allow = ", ".join(allowed)
        super().__init__(f"{method} is not allowed; this path has {allow}.", headers={"Allow": allow})


class RequestTimeout(ApiError):
    """408: the body was not received in time. The connection is closed."""

    status = 408

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The body was not received within {seconds:.0f} s.", headers={"Connection": "close"})


class Conflict(ApiError):
    status = 409


class PreconditionFailed(ApiError):
    status = 412


class BodyTooLarge(ApiError):
    status = 413


class UriTooLong(ApiError):
    status = 414


class UnsupportedMediaType(ApiError):
    status = 415


class Unprocessable(ApiError):
    """422; `errors` is a list of `{"pointer" | "parameter": ..., "detail": ...}`, of which MAX_ERRORS are sent."""

    status = 422
    slug, title = "validation", "Invalid input"
    MAX_ERRORS = 20

    def __init__(self, detail: str, errors: list[dict[str, str]], *, truncated: bool = False) -> None:
        more: dict[str, Any] = {"truncated": True} if truncated or len(errors) > self.MAX_ERRORS else {}
        super().__init__(detail, errors=errors[: self.MAX_ERRORS], **more)


class TooManyRequests(ApiError):
    """429; the client should wait for `retry_after` seconds."""

    status = 429

    def __init__(self, detail: str, *, retry_after: float) -> None:
        super().__init__(detail, headers={"Retry-After": str(max(1, round(retry_after)))})


class HeadersTooLarge(ApiError):
    status = 431


class Unavailable(ApiError):
    """503: a dependency or this process cannot serve now; the client may retry after `retry_after` seconds."""

    status = 503

    def __init__(self, detail: str, *, retry_after: int = 1, **members: Any) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)}, **members)
