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
from common.web.problems import Problem

__all__ = ["PATH", "merged", "rendered"]

PATH = Path(str(resources.files("catalog") / "openapi.json"))
TAGS = {
    "auth": "Accounts, sessions and tokens.",
    "products": "The catalog. Reading needs no token.",
    "sync": "Runs that pull products from external APIs.",
    "health": "Whether each service can work.",
}
DESCRIPTION = """\
Products mirrored from external APIs, edited by admins, served to clients.

Reading products needs no token. To write: register, log in (or use **Authorize** with your email as username),
and send `Authorization: Bearer <access_token>`. Every error is `application/problem+json` (RFC 9457) with the
`request_id` that the logs know it by; it is also in the header `X-Request-ID` of every answer.
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
    schemas: dict[str, Any] = {"Problem": Problem.model_json_schema()}
    security: dict[str, Any] = {}
    for document in _documents():
        for path, operations in document["paths"].items():
            if not path.startswith("/internal/"):
                paths[path] = _prepared(operations)
        components = document.get("components", {})
        schemas |= components.get("schemas", {})
        security |= components.get("securitySchemes", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Products API", "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items())), "securitySchemes": security},
    }


def _documents() -> list[dict[str, Any]]:
    """The OpenAPI document of each service."""
    services = [
        auth.app.build(auth.settings.AuthSettings(**SETTINGS)),  # type: ignore[arg-type]
        catalog.app.build(catalog.settings.CatalogSettings(**SETTINGS)),  # type: ignore[arg-type]
        sync.app.build(sync.settings.SyncSettings(**SETTINGS)),  # type: ignore[arg-type]
    ]
    return [service.api.openapi() for service in services]


def _prepared(operations: dict[str, Any]) -> dict[str, Any]:
    """FastAPI documents its own 422 body, which none of our routes answers."""
    for operation in operations.values():
        answer = operation["responses"].get("422", {})
        if "application/json" in answer.get("content", {}) and "ValidationError" in json.dumps(answer):
            del operation["responses"]["422"]
    return operations


def rendered() -> str:
    return json.dumps(merged(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(rendered(), "utf-8")
    print(f"wrote {PATH}")
