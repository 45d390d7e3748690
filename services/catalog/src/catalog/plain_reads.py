"""Plain reads of products, answered before FastAPI solves dependencies and validates parameters.

A request that is plain needs none of that: one product by its number, or a page whose parameters are plain digits and
a cursor. Every other request, also each that is refused for its parameters, goes on to the ordinary route, which
answers the plain ones with the same bytes.
"""

import re
from collections.abc import Awaitable
from functools import lru_cache

from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from catalog import products, routes
from catalog.conditions import Conditions
from catalog.errors import InvalidCursor
from catalog.paging import DEFAULT_LIMIT, MAX_LIMIT, MAX_SKIP, Paging
from catalog.reads import EncodedResponse, ProductReads, product_response
from common import tracing
from common.web.problems import to_response

__all__ = ["PlainReads"]

_PREFIX = "/products/"
_CONDITIONS = frozenset({b"if-match", b"if-none-match"})
_BODY = frozenset({b"content-length", b"transfer-encoding"})
MAX_QUERY, MAX_DIGITS = 100, 19
# Each parameter once, nothing percent-encoded. Repeated ones are left to the ordinary route.
_PARAMETER = re.compile(r"(skip|limit)=[0-9]{1,7}|cursor=[A-Za-z0-9_-]{0,64}").fullmatch


def _route(name: str) -> APIRoute:
    return next(it for it in routes.router.routes if isinstance(it, APIRoute) and it.name == name)


_PRODUCT_ROUTE, _PAGE_ROUTE = _route("get_product"), _route("list_products")


class PlainReads:
    """ASGI middleware of the catalog."""

    def __init__(self, app: ASGIApp, reads: ProductReads) -> None:
        self.app = app
        self._reads = reads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET":
            path, query, conditions = scope["path"], scope["query_string"], []
            for name, value in scope["headers"]:
                if name in _BODY:
                    return await self.app(scope, receive, send)
                if name in _CONDITIONS:
                    conditions.append((name, value))
            if path.startswith(_PREFIX) and not query and (product_id := _product_id(path)):
                answer = self._product(product_id, conditions)
                return await _send(answer, _PRODUCT_ROUTE, scope, receive, send)
            if path == _PAGE_ROUTE.path and (paging := _paging(query) if len(query) <= MAX_QUERY else None):
                return await _send(self._page(paging), _PAGE_ROUTE, scope, receive, send)
        await self.app(scope, receive, send)

    async def _product(self, product_id: int, headers: list[tuple[bytes, bytes]]) -> Response:
        if len(headers) == 1 and _is_tag_of_ours(*headers[0]):
            tag, body = await self._reads.product(product_id)
            return EncodedResponse(None if headers[0][1] == tag.encode() else body, tag)
        conditions = Conditions(Headers(raw=headers)) if headers else None
        return product_response(await self._reads.product(product_id), conditions)

    async def _page(self, paging: Paging) -> Response:
        return EncodedResponse(await self._reads.page(paging))


async def _send(answer: Awaitable[Response], route: APIRoute, scope: Scope, receive: Receive, send: Send) -> None:
    # For the metrics and the access log.
    scope["route"] = route
    tracing.name_request(route.path)
    try:
        response = await answer
    except Exception as error:
        response = to_response(scope, error)
    await response(scope, receive, send)


def _is_tag_of_ours(name: bytes, value: bytes) -> bool:
    """Whether a condition is what most are, `If-None-Match: "5-1"`, which needs no parser."""
    return (
        name == b"if-none-match"
        and len(value) < 50
        and value[:1] + value[-1:] == b'""'
        and value[1:-1].replace(b"-", b"").isdigit()
    )


def _product_id(path: str) -> int | None:
    digits = path[len(_PREFIX) :]
    # Before int(), which also takes "1_0" and digits of other alphabets, and is slow for long texts.
    if len(digits) > MAX_DIGITS or not (digits.isascii() and digits.isdigit()):
        return None
    product_id = int(digits)
    return product_id if 1 <= product_id <= products.MAX_ID else None


@lru_cache(maxsize=1024)
def _paging(query: bytes) -> Paging | None:
    """The page that a plain query asks for; None if it is not plain, or refused."""
    parameters: dict[str, str] = {}
    for parameter in query.decode("latin-1").split("&") if query else ():
        name, _, value = parameter.partition("=")
        if name in parameters or not _PARAMETER(parameter):
            return None
        parameters[name] = value
    skip, limit = int(parameters.get("skip", 0)), int(parameters.get("limit", DEFAULT_LIMIT))
    if skip > MAX_SKIP or not 1 <= limit <= MAX_LIMIT:
        return None
    try:
        return Paging.of(skip, limit, parameters.get("cursor"))
    except InvalidCursor:
        return None
