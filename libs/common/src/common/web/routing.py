"""The route class of every service: strict about what a client sends."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import cached_property
from itertools import islice
from typing import Any, cast
from urllib.parse import unquote_plus

from fastapi import APIRouter, Request
from fastapi._compat import ModelField
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Form, Query
from fastapi.routing import APIRoute
from fastapi.utils import create_model_field
from pydantic import BeforeValidator
from starlette.responses import Response

from common.web.body import BoundedBody, check_media_type, has_body
from common.web.errors import Unprocessable
from common.web.security import Permission
from common.web.state import StateRequest
from common.web.strict_json import loads

__all__ = ["PLAIN_DIGITS", "StrictRoute", "make_router"]

Responses = dict[int | str, dict[str, Any]]
# Of the name of an unknown query parameter this much is told.
MAX_NAME = 100


def _plain(value: Any) -> Any:
    # int() would also take 1_0, +1 and " 5".
    if isinstance(value, str) and not (value.isascii() and value.removeprefix("-").isdigit() and len(value) < 20):
        raise ValueError("must be a whole number in plain digits")
    return value


PLAIN_DIGITS = BeforeValidator(_plain)
"""For an integer in a URL: in digits only. It follows the bounds, `Annotated[int, Field(ge=1), PLAIN_DIGITS]`."""


class _StrictRequest(Request):
    async def json(self) -> Any:
        return loads(await self.body())


class StrictRoute(APIRoute):
    """Knows who calls before it reads a body, and refuses what is not strict.

    Bodies that are not JSON (415), too large (413), too slow (408) or loose JSON (400); unknown or repeated
    parameters (422).
    """

    MAX_BODY = 16 * 1024
    """Bytes of a body, unless the router says otherwise."""

    def __init__(self, *arguments: Any, responses: Responses | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.responses = responses or {}
        del self.response_fields

    @cached_property
    def response_fields(self) -> dict[int | str, ModelField]:  # type: ignore[override]
        """The schemas of the documented answers. FastAPI makes them with the route, but only the OpenAPI document has
        them: a server would spend 30 ms of its start on them.
        """
        return {
            status: create_model_field(f"Response_{status}_{self.unique_id}", answer["model"], mode="serialization")
            for status, answer in self.responses.items()
            if "model" in answer
        }

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()
        form = self.body_field is not None and isinstance(self.body_field.field_info, Form)
        known = {field.alias for field in get_flat_params(self.dependant) if isinstance(field.field_info, Query)}
        permissions = [call for call in _calls(self.dependant) if isinstance(call, Permission)]

        async def strict(request: Request) -> Response:
            if request.scope["query_string"]:
                _check_query(request.scope["query_string"], known)
            for permission in permissions:
                await permission(cast(StateRequest, request))
            if not has_body(request):
                return await handle(request)
            if self.body_field is not None:
                check_media_type(request, form=form)
            async with BoundedBody(request, self.MAX_BODY) as receive:
                return await handle(_StrictRequest(request.scope, receive))

        return strict


def _calls(dependant: Dependant) -> Iterator[Any]:
    """Every function that a route depends on."""
    for inner in dependant.dependencies:
        yield inner.call
        yield from _calls(inner)


def _check_query(query: bytes, known: set[str]) -> None:
    # Known names and one too many to tell: more are not looked at.
    most = len(known) + Unprocessable.MAX_ERRORS + 1
    names = (pair.partition("=")[0] for pair in query.decode("latin-1").split("&") if pair)
    counts = Counter(unquote_plus(name[:MAX_NAME]) for name in islice(names, most))
    errors = [
        {"parameter": name, "detail": "is sent twice" if name in known else "is not known here"}
        for name, times in counts.items()
        if times > 1 or name not in known
    ]
    if errors:
        allowed = ", ".join(sorted(known)) or "none"
        raise Unprocessable(f"Unknown or repeated query parameters; known here: {allowed}.", errors)


def make_router(tag: str, *, max_body: int = StrictRoute.MAX_BODY) -> APIRouter:
    """A router for a service's noun, whose routes name their whole paths and take bodies of `max_body` bytes.

    In the OpenAPI document their operation ids are the names of their functions.
    """
    route_class = type("StrictRoute", (StrictRoute,), {"MAX_BODY": max_body})
    return APIRouter(route_class=route_class, tags=[tag], generate_unique_id_function=lambda route: route.name)
