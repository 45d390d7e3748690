"""Writes the one OpenAPI document of all services, which catalog serves: `python -m tools.openapi`."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import auth.app
import auth.settings
import catalog.app
import catalog.settings
import sync.app
import sync.settings
from common import __version__
from common.web.openapi import HEADERS, response_headers

__all__ = ["PATH", "merged", "rendered"]

PATH = Path(str(resources.files("catalog") / "openapi.json"))
TAGS = {
    "auth": "Accounts, sessions and tokens.",
    "products": "The catalog. Reading needs no token.",
    "sync": "Runs that pull products from external APIs.",
    "health": "Readiness of each service.",
}
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
SETTINGS = {
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
    for document in _documents():
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
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items())), "headers": HEADERS, "securitySchemes": security},
    }


def _documents() -> list[dict[str, Any]]:
    """The OpenAPI document of each service, which does not have its internal routes."""
    services = [
        auth.app.build(auth.settings.AuthSettings(**SETTINGS)),  # type: ignore[arg-type]
        catalog.app.build(catalog.settings.CatalogSettings(**SETTINGS)),  # type: ignore[arg-type]
        sync.app.build(sync.settings.SyncSettings(**SETTINGS)),  # type: ignore[arg-type]
    ]
    return [service.api.openapi() for service in services]


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
