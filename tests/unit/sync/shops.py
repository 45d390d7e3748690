"""Shops whose APIs have nothing in common, and the options by which `rest` reads each."""

import base64
import json
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import httpx

from tests.unit.sync.loopback import Asked, answer

__all__ = ["COUNT", "SHOPS", "Shop", "options_at"]

COUNT = 25


class Shop(NamedTuple):
    """A server of `COUNT` products, with what `rest` needs to read them, `size` at a time."""

    path: str
    handler: Callable[[Asked], httpx.Response]
    options: dict[str, Any]
    requests: int


def _offset(asked: Asked) -> httpx.Response:
    if asked.headers.get("authorization") != "Bearer hush-token":
        return answer({"error": "who?"}, status=401)
    start, size = int(asked.params["skip"]), int(asked.params["take"])
    found = [
        {"sku": f"A-{n}", "label": f"Lamp {n}", "cost": {"amount": 1999}, "group": "lights", "left": str(n)}
        for n in range(start, min(start + size, COUNT))
    ]
    return answer({"result": {"rows": found, "count": COUNT}})


def _page(asked: Asked) -> httpx.Response:
    if asked.headers.get("x-api-key") != "hush-key" or asked.params.get("lang") != "en":
        return answer({}, status=403)
    page, size = int(asked.params["page"]), int(asked.params["per_page"])
    found = [
        {"id": n, "name": f"Chair {n}", "price": "12.50", "type": {"name": "chairs"}, "img": f"/img/{n}.webp"}
        for n in range(page * size, min(page * size + size, COUNT))
    ]
    return answer({"data": found, "meta": {"last_page": -(-COUNT // size)}}, packed=True)


def _cursor(asked: Asked) -> httpx.Response:
    """Like Shopify's storefronts: edges and nodes, and the price as a text."""
    wanted = "Basic " + base64.b64encode(b"hush-user:hush-password").decode()
    if asked.headers.get("authorization") != wanted:
        return answer({}, status=401)
    after = asked.params.get("after")
    start = int(base64.b64decode(after)) if after else 0
    end = min(start + int(asked.params["first"]), COUNT)
    edges = [
        {
            "node": {
                "id": f"gid://shop/Product/{n}",
                "title": f"Rug {n}",
                "vendor": "Looms",
                "priceRange": {"min": {"amount": "80.0", "currencyCode": "EUR"}},
                "images": [{"url": f"https://cdn.test/{n}.webp"}, {"url": "https://cdn.test/back.webp"}],
                "tags": ["wool", "red"],
            }
        }
        for n in range(start, end)
    ]
    info = {"hasNextPage": end < COUNT, "endCursor": base64.b64encode(str(end).encode()).decode()}
    return answer({"data": {"products": {"edges": edges, "pageInfo": info}}})


def _link(asked: Asked) -> httpx.Response:
    if asked.params.get("api_key") != "hush-query":
        return answer({}, status=401)
    start = int(asked.params.get("from", "0"))
    size = int(asked.params.get("limit", "10"))
    found = [{"ref": n, "n": f"Cup {n}", "p": 4.5} for n in range(start, min(start + size, COUNT))]
    following = f"/shelf?api_key=hush-query&from={start + size}&limit={size}"
    links = f'</shelf?from=0>; rel="first", <{following}>; title="a, b"; rel="x next"'
    return answer(found, link=links) if start + size < COUNT else answer(found)


class _OAuth:
    """Its tokens serve twice, though it says that they serve for an hour."""

    def __init__(self) -> None:
        self.given = 0
        self.used = 0

    def __call__(self, asked: Asked) -> httpx.Response:
        if asked.url.path == "/token":
            form = parse_qs(asked.body.decode())
            pair = "Basic " + base64.b64encode(b"shop-client:hush%3Asecret").decode()
            if asked.method != "POST" or form != {"grant_type": ["client_credentials"], "scope": ["read"]}:
                return answer({"error": "invalid_request"}, status=400)
            if asked.headers.get("authorization") != pair:
                return answer({"error": "invalid_client"}, status=401)
            self.given, self.used = self.given + 1, 0
            return answer({"access_token": f"hush-{self.given}", "token_type": "bearer", "expires_in": 3600})
        self.used += 1
        if asked.headers.get("authorization") != f"Bearer hush-{self.given}" or self.used > 2:
            return answer({}, status=401)
        page = int(asked.params.get("p", "1"))
        found = [{"id": n, "title": f"Box {n}", "price": 3} for n in range((page - 1) * 10, min(page * 10, COUNT))]
        return answer({"items": found, "next": f"/v1/boxes?p={page + 1}" if page * 10 < COUNT else None})


def _all(asked: Asked) -> httpx.Response:
    return answer([{"id": n, "title": f"Pen {n}", "price": 1.5, "category": "pens"} for n in range(COUNT)])


SHOPS = {
    "offset": Shop(
        "/rows",
        _offset,
        {
            "items": "result.rows",
            "paging": {
                "kind": "offset",
                "limit_param": "take",
                "offset_param": "skip",
                "total": "result.count",
            },
            "auth": {"kind": "bearer", "token": {"env": "SOURCE_TOKEN"}},
            "mapping": {
                "external_id": "sku",
                "name": "label",
                "price": {"path": "cost.amount", "cast": "cents"},
                "category": "group",
                "stock": {"path": "left", "cast": "integer"},
            },
        },
        3,
    ),
    "page": Shop(
        "/chairs?lang=en",
        _page,
        {
            "items": "data",
            "paging": {
                "kind": "page",
                "page_param": "page",
                "size_param": "per_page",
                "first": 0,
                "total_pages": "meta.last_page",
            },
            "auth": {"kind": "header", "name": "X-Api-Key", "value": {"env": "SOURCE_KEY"}},
            "mapping": {
                "external_id": "id",
                "name": "name",
                "price": "price",
                "category": "type.name",
                "image_url": "img",
            },
        },
        3,
    ),
    "cursor": Shop(
        "/storefront",
        _cursor,
        {
            "items": "data.products.edges[].node",
            "paging": {
                "kind": "cursor",
                "cursor_param": "after",
                "next": "data.products.pageInfo | hasNextPage && endCursor",
                "size_param": "first",
            },
            "auth": {
                "kind": "basic",
                "username": {"env": "SOURCE_USER"},
                "password": {"file": "shop-password"},
            },
            "mapping": {
                "external_id": "id",
                "name": "title",
                "price": {"path": "priceRange.min.amount", "cast": "number"},
                "currency": "priceRange.min.currencyCode",
                "category": {"const": "rugs"},
                "brand": "vendor",
                "image_url": "images[0].url",
                "attributes": {"tags": "tags", "label": {"join": ["vendor", "title"], "separator": " / "}},
            },
        },
        3,
    ),
    "link": Shop(
        "/shelf",
        _link,
        {
            "paging": {"kind": "link", "size_param": "limit"},
            "query": {"api_key": {"env": "SOURCE_QUERY"}},
            "headers": {"X-Client": "products"},
            "mapping": {
                "external_id": "ref",
                "name": "n",
                "price": "p",
                "category": {"path": "c", "default": "cups"},
            },
        },
        3,
    ),
    "next_url": Shop(
        "/v1/boxes",
        _OAuth(),
        {
            "items": "items",
            "paging": {"kind": "next_url", "next": "next"},
            "auth": {
                "kind": "oauth2",
                "token_url": "TOKEN_URL",
                "client_id": "shop-client",
                "client_secret": {"env": "SOURCE_CLIENT_SECRET"},
                "scope": "read",
            },
            "mapping": {
                "external_id": "id",
                "name": "title",
                "price": "price",
                "category": {"const": "boxes"},
                "currency": {"const": "GBP"},
            },
        },
        6,  # three pages, two tokens, and one refusal between them
    ),
    "none": Shop(
        "/pens",
        _all,
        {"mapping": {"external_id": "id", "name": "title", "price": "price", "category": "category"}},
        1,
    ),
}


def options_at(shop: Shop, url: str) -> dict[str, Any]:
    """The options with the address of the server's own token endpoint."""
    found: dict[str, Any] = json.loads(json.dumps(shop.options).replace("TOKEN_URL", f"{url}/token"))
    return found
