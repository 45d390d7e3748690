"""The route class of every service: strict about what a client sends."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Form, Query
from fastapi.routing import APIRoute
from pydantic import BeforeValidator
from starlette.responses import Response

from common import json
from common.errors import Unprocessable, UnsupportedMediaType

__all__ = ["PlainInt", "StrictRoute", "router"]


def _plain(value: Any) -> Any:
    # int() would also take 1_0, +1 and " 5".
    if isinstance(value, str) and not (value.isascii() and value.removeprefix("-").isdigit() and len(value) < 20):
        raise ValueError("must be a whole number in plain digits")
    return value


PlainInt = Annotated[int, BeforeValidator(_plain, json_schema_input_type=int)]
"""An integer in a URL, in digits only."""


class _StrictRequest(Request):
    async def json(self) -> Any:
        return json.loads(await self.body())


class StrictRoute(APIRoute):
    """Refuses bodies that are not JSON (415), loose JSON (400), and unknown or repeated parameters (422)."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()
        wants_json = self.body_field is not None and not isinstance(self.body_field.field_info, Form)
        known = {field.alias for field in get_flat_params(self.dependant) if isinstance(field.field_info, Query)}

        async def strict(request: Request) -> Response:
            if request.scope["query_string"]:
                _check_query(request.scope["query_string"], known)
            if not wants_json or not _has_body(request):
                return await handle(request)
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
                raise UnsupportedMediaType("Send the body as application/json.")
            return await handle(_StrictRequest(request.scope, request.receive))

        return strict


def _has_body(request: Request) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


def _check_query(query: bytes, known: set[str]) -> None:
    counts = Counter(name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    errors = [
        {"parameter": name[:100], "detail": "is sent twice" if name in known else "is not known here"}
        for name, times in counts.items()
        if times > 1 or name not in known
    ]
    if errors:
        allowed = ", ".join(sorted(known)) or "none"
        raise Unprocessable(f"Unknown or repeated query parameters; known here: {allowed}.", errors)


def router(tag: str) -> APIRouter:
    """A router for a service's noun; its routes name their whole paths."""
    return APIRouter(route_class=StrictRoute, tags=[tag])
