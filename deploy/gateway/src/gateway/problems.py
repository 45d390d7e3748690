"""Envoy's own answers as problem documents (RFC 9457), like those of the services."""

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from gateway.messages import Config, set_header

__all__ = ["REQUEST_ID", "local_replies"]

# The id of the answer: its header is set first.
REQUEST_ID = "%RESP(X-REQUEST-ID):64%"
EXPOSED = "Allow, ETag, Location, Retry-After, X-Request-ID"


class Problem(NamedTuple):
    """The answer in place of Envoy's answers from status `first` to `last`."""

    first: int
    last: int
    status: int
    title: str
    detail: str


PROBLEMS = (
    Problem(400, 400, 400, "Bad Request", "This is not a valid HTTP request: its target, a length or a header is bad."),
    Problem(403, 403, 403, "Forbidden", "Protocol upgrades and tunnels are not offered here."),
    Problem(404, 404, 404, "Not Found", "Nothing is served under this path; /docs lists what is."),
    Problem(408, 408, 408, "Request Timeout", "The request did not arrive in time: its headers may take 10 s, its body "
            "may pause for 10 s."),
    Problem(413, 413, 413, "Content Too Large", "The body is larger than this path takes: 128 KB for products, 16 KB "
            "elsewhere."),
    Problem(414, 414, 414, "URI Too Long", "The URL is longer than 8 KB."),
    Problem(431, 431, 431, "Request Header Fields Too Large", "The headers are larger than 96 KB, or more than 100."),
    Problem(400, 499, 400, "Bad Request", "The gateway could not handle this request."),
    Problem(500, 599, 503, "Service Unavailable",
            "The service behind this path does not answer. Try again in a moment."),
)  # fmt: skip


def local_replies(origins: Sequence[str]) -> Config:
    """Pages of `origins` may read them, as they may the services' answers."""
    return {"mappers": [mapper for problem in PROBLEMS for mapper in _mappers(problem, origins)]}


def _mappers(problem: Problem, origins: Sequence[str]) -> Iterator[Config]:
    """For a request of a page that may read the answer, for any other, and for what was no whole request."""
    reply = {"status_code": problem.status, "body_format_override": _body(problem)}
    statuses = [_status("GE", problem.first), _status("LE", problem.last)]
    headers = [set_header("Cache-Control", "no-store")]
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append(set_header("Retry-After", "1"))
    theirs, made = (set_header("X-Request-ID", value) for value in ("%REQ(X-REQUEST-ID):64%", "%UNIQUE_ID%"))
    for origin in origins:
        cors = [
            set_header("Access-Control-Allow-Origin", origin),
            set_header("Access-Control-Allow-Credentials", "true"),
            set_header("Access-Control-Expose-Headers", EXPOSED),
            set_header("Vary", "Origin"),
        ]
        allowed = _all(*statuses, _IDENTIFIED, _has("origin", string_match={"exact": origin}))
        yield {"filter": allowed, **reply, "headers_to_add": [*headers, theirs, *cors]}
    yield {"filter": _all(*statuses, _IDENTIFIED), **reply, "headers_to_add": [*headers, theirs]}
    yield {"filter": _all(*statuses), **reply, "headers_to_add": [*headers, made]}


def _body(problem: Problem) -> Config:
    document = {
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": "%PATH(NQ):1000%",
        "request_id": REQUEST_ID,
    }
    return {"content_type": "application/problem+json", "json_format": document}


def _all(*filters: Config) -> Config:
    return {"and_filter": {"filters": filters}}


def _has(name: str, **match: Any) -> Config:
    return {"header_filter": {"header": {"name": name, **match}}}


_IDENTIFIED = _has("x-request-id", present_match=True)


def _status(comparison: str, status: int) -> Config:
    value = {"default_value": status, "runtime_key": "gateway.none"}
    return {"status_code_filter": {"comparison": {"op": comparison, "value": value}}}
