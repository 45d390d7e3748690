"""What the OpenAPI document says of every service's answers: their problems and their headers."""

from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

__all__ = ["HEADERS", "InvalidValue", "Problem", "ValidationProblem", "problem_responses", "response_headers"]


class Problem(TypedDict):
    """An error (RFC 9457)."""

    type: Annotated[str, Field(description="The address of its description, or `about:blank`.")]
    title: str
    status: int
    detail: str | None
    instance: Annotated[str, Field(description="The path of the request.")]
    request_id: Annotated[str, Field(description="The same as in the header `X-Request-ID` and in the logs.")]


class InvalidValue(TypedDict):
    """One value that is not valid: a member of the body or a parameter."""

    pointer: NotRequired[Annotated[str, Field(description="A JSON pointer (RFC 6901) into the body: `#/price`.")]]
    parameter: NotRequired[Annotated[str, Field(description="The name of a parameter in the path, query or headers.")]]
    detail: str


class ValidationProblem(Problem):
    """The input is not valid; `errors` says what and why."""

    errors: Annotated[list[InvalidValue], Field(max_length=20)]
    truncated: NotRequired[Annotated[bool, Field(description="True if there are more errors than these.")]]


def _header(description: str, *, required: bool = True, kind: str = "string", **schema: Any) -> dict[str, Any]:
    return {"description": description, "required": required, "schema": {"type": kind, **schema}}


HEADERS = {
    "X-Request-ID": _header(
        "Names the request in the logs: the id that was sent, or a new one.", pattern="^[A-Za-z0-9._-]{1,64}$"
    ),
    "Cache-Control": _header("Whether the answer may be stored.", examples=["no-store", "no-cache"]),
    "ETag": _header("The version of the product, for `If-Match` and `If-None-Match`.", examples=['"5-1"']),
    "Location": _header("The path of what was created or started.", format="uri-reference"),
    "Retry-After": _header("Seconds until a new attempt may succeed.", kind="integer", minimum=1),
    "WWW-Authenticate": _header("The scheme to authenticate with, and what was wrong (RFC 6750)."),
    "Allow": _header("With 405: the methods that the path takes.", required=False, examples=["GET, HEAD, OPTIONS"]),
}
"""The headers that answers are documented with, as components of the document. Every answer has the first two."""

_DESCRIPTIONS: dict[int | str, str] = {
    400: "The body is not strict JSON, or a header or `cursor` is not valid.",
    401: "The credentials are missing or not valid.",
    403: "The token does not have the role that this needs.",
    404: "Not found.",
    409: "It already exists.",
    412: "The version is not one that `If-Match` or `If-None-Match` allows; `ETag` is the current one.",
    413: "The body is too large.",
    415: "The body has the wrong media type, charset or encoding.",
    422: "The input is not valid.",
    429: "Too many attempts.",
    503: "A dependency is unavailable, or there are too many requests. Safe to retry.",
    "default": "Any other error: 405, 408, 413, 414, 431, or 500.",
}
_HEADERS: dict[int | str, tuple[str, ...]] = {
    401: ("WWW-Authenticate",), 412: ("ETag",), 429: ("Retry-After",), 503: ("Retry-After",), "default": ("Allow",),
}  # fmt: skip


def response_headers(*names: str) -> dict[str, Any]:
    """The `headers` of one of a route's `responses`."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def problem_responses(*statuses: int, model: Any = Problem) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer problems of these statuses, and 422 and 503, as all may."""
    documented: tuple[int | str, ...] = (*statuses, 422, 503, "default")
    return {
        status: {
            "model": ValidationProblem if status == 422 else model if status in statuses else Problem,
            "description": _DESCRIPTIONS[status],
            "headers": response_headers(*_HEADERS.get(status, ())),
        }
        for status in documented
    }
