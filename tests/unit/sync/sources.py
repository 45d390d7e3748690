"""Sources that speak like DummyJSON, and a provider that reads them."""

import json
from collections.abc import Callable
from typing import Any

import httpx

from sync.providers import ExternalProduct, Page, ProviderConfig, Reject
from sync.providers.dummyjson import DummyJSON

URL = "https://source.test/products"
GOOD: dict[str, Any] = {"id": 1, "title": "Lamp", "price": 9.99, "category": "lights"}

Handler = Callable[[httpx.Request], httpx.Response]


def provider(handler: Handler, **more: Any) -> DummyJSON:
    return DummyJSON(ProviderConfig(url=URL, transport=httpx.MockTransport(handler), **more))


async def read(handler: Handler, cursor: str | None = None, **more: Any) -> list[Page]:
    found = [page async for page in provider(handler, **more).pages(cursor)]
    assert found[-1].next_cursor is None
    return found


def raw(*records: str, total: int | None = None) -> Handler:
    """One page whose records are JSON as text, so that they may be what no encoder would write."""
    count = len(records) if total is None else total
    text = f'{{"products": [{",".join(records)}], "total": {count}}}'
    return lambda _: httpx.Response(200, text=text)


async def one(record: Any) -> ExternalProduct | Reject:
    text = record if isinstance(record, str) else json.dumps(record)
    [page] = await read(raw(text))
    [result] = page.items + page.rejects
    return result


def asked(request: httpx.Request) -> tuple[int, int]:
    return int(request.url.params["skip"]), int(request.url.params["limit"])


def records(start: int, end: int) -> list[dict[str, Any]]:
    return [GOOD | {"id": number} for number in range(start, end)]


def answer(found: list[dict[str, Any]], total: Any) -> httpx.Response:
    return httpx.Response(200, json={"products": found, "total": total})


def ids(pages: list[Page]) -> list[int]:
    return [int(item.external_id) for page in pages for item in page.items]
