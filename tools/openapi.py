"""Writes the one OpenAPI document of all services, which catalog serves: `python -m tools.openapi`."""

import json
from collections.abc import Iterator
from importlib import import_module, resources
from pathlib import Path
from typing import Any

from common import __version__
from common.web.openapi import HEADERS, response_headers
from stack.services import SETTINGS

__all__ = ["PATH", "merged", "rendered"]

PATH = Path(str(resources.files("catalog") / "openapi.json"))
HEALTH_TAG = {"name": "health", "description": "Readiness of each service."}
DESCRIPTION = """\
Products mirrored from external APIs, edited by admins, served to clients.

Reading products needs no token. To write: register, log in (or use **Authorize** with your email as username),
and send `Authorization: Bearer <access_token>`.

Every error is `application/problem+json` (RFC 9457) with a `request_id`, which is also in the logs and in the header
`X-Request-ID` of every answer. Any operation may also answer 408 (the body came too slowly), 413 (it is too large),
414 (the URL is longer than 8 KB), 431 (the headers are larger than 16 KB) and 500. A method that a path does not take
is answered with 405, and `Allow` names those that it does.
"""
# Values that only let the apps be composed; nothing connects.
VALUES = {
    "database_url": "postgresql://nobody@127.0.0.1/nothing",
    "redis_url": "redis://127.0.0.1/0",
    "secret_key": "-" * 16 + "for the document" + "-" * 16,
    "sync_client_secret": "-" * 16 + "for the document" + "-" * 16,
}


def merged() -> dict[str, Any]:
    """The documents of all services in one, with the paths that the gateway routes."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    security: dict[str, Any] = {}
    tags: list[dict[str, str]] = []
    for document in _documents():
        tags += document["tags"]
        paths |= document["paths"]
        components = document.get("components", {})
        schemas |= components.get("schemas", {})
        security |= components.get("securitySchemes", {})
    for operations in paths.values():
        for operation in operations.values():
            operation["responses"] = {
                status: _completed(status, answer) for status, answer in sorted(operation["responses"].items())
            }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Products API",
            "version": __version__,
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        # Operations that need a token say so themselves.
        "security": [],
        "tags": [*tags, HEALTH_TAG],
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items())), "headers": HEADERS, "securitySchemes": security},
    }


def _documents() -> Iterator[dict[str, Any]]:
    """The OpenAPI document of each service, which does not have its internal routes."""
    for service, kind in SETTINGS.items():
        yield import_module(f"{service}.app").build(kind.model_validate(VALUES)).api.openapi()


def _completed(status: str, answer: dict[str, Any]) -> dict[str, Any]:
    """What all answers have: two headers; and of problems the media type, which FastAPI does not take from a model."""
    answer["headers"] = answer.get("headers", {}) | response_headers("X-Request-ID", "Cache-Control")
    if status >= "400":
        answer["content"] = {"application/problem+json": answer["content"].pop("application/json")}
    return answer


def rendered() -> str:
    return json.dumps(merged(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(rendered(), "utf-8")
    print(f"wrote {PATH}")
