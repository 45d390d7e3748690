"""Plain reads pass FastAPI by: they are answered with the same status, headers and bytes as by the ordinary route."""

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator, Iterator

import httpx
import psycopg
import pytest
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from catalog.app import build
from catalog.plain_reads import PlainReads
from catalog.settings import CatalogSettings
from tests.fixtures.catalog import Auth, empty
from tests.fixtures.databases import dsn
from tests.fixtures.service import serving
from tests.integration.catalog.test_products import create

PRODUCTS = 7


def cursor(product_id: int) -> str:
    return base64.urlsafe_b64encode(b"id:%d" % product_id).decode().rstrip("=")


# N is the id of the first product of the test, which has PRODUCTS of them; M one that was deleted.
IDS = (
    "N", "M", "0", "1", "00N", "999999999", "9223372036854775807", "9223372036854775808", "99999999999999999999",
    "1" * 200, "-1", "+1", "1_0", "1.0", "0x1", "1e3", "abc", "%31", "N%00", "N%20", "%EF%BC%91", "N/", "N//",
    "/N", "N/pins",
    "N;x", "", "null", "~", "N%2F", "..", "N?", "N?x=1", "N?skip=1", "N?=", "N?&", "N#x",
)  # fmt: skip
QUERIES = (
    "", "?", "?limit=1", "?limit=5", "?limit=500", "?limit=501", "?limit=0", "?limit=-1", "?limit=", "?limit",
    "?limit=05",
    "?limit=1_0", "?limit=%31", "?limit=+1", "?limit=1&limit=1", "?limit=1&limit=2", "?Limit=1", "?limit=1&",
    "?&limit=1",
    "?limit=1&&skip=1", "?limit=1;skip=1", "?limit=9999999999", "?limit=99999999999999999999", "?limit=1.5", "?limit=a",
    "?skip=0", "?skip=2", "?skip=1&limit=2", "?limit=2&skip=1", "?skip=1000000", "?skip=1000001", "?skip=10001",
    "?skip=-0",
    "?skip=-1", "?skip=", "?skip=%30", "?cursor=", "?cursor", "?cursor=C", "?cursor=C&limit=2", "?limit=2&cursor=C",
    "?cursor=C&skip=0", "?cursor=C&skip=1", "?cursor==", "?cursor=C%3D", "?cursor=C=", "?cursor=!!", "?cursor=aWQ6eA",
    "?cursor=aWQ6MTIzNDU2Nzg5MDEyMzQ1Njc4OQ", "?cursor=" + "a" * 64, "?cursor=" + "a" * 65, "?cursor=C&cursor=C",
    "?q=1", "?limit=1&q=1", "?%6cimit=1", "?limit=1%00", "?limit=1#x", "?skip=1" + "0" * 200, "?" + "limit=1&" * 40,
)  # fmt: skip
CONDITIONS = (
    [("If-None-Match", 'T')], [("If-None-Match", "*")], [("If-None-Match", "W/T")], [("If-None-Match", '"x"')],
    [("If-None-Match", '"x", T')], [("If-None-Match", '"x"'), ("If-None-Match", "T")], [("If-None-Match", "5-1")],
    [("If-None-Match", "")], [("If-None-Match", ",")], [("If-Match", "T")], [("If-Match", '"x"')], [("If-Match", "5")],
    [("If-Match", "T"), ("If-None-Match", "T")], [("if-none-match", "T")],
    [("If-Modified-Since", "Mon, 01 Jan 2035 00:00:00 GMT")],
)  # fmt: skip
HEADERS = (
    [("Accept", "text/html")], [("Accept-Encoding", "gzip")], [("Authorization", "Bearer x")],
    [("Content-Length", "0")], [("Content-Length", "200000")],
    [("Content-Length", "3")], [("Transfer-Encoding", "chunked")], [("X-Request-ID", "a b")],
    [("X-Request-ID", "x" * 65)],
    [("Range", "bytes=0-1")], [("Host", "elsewhere.example")], [("Content-Type", "text/plain")],
    [("Expect", "100-continue")],
    [("X-Forwarded-For", "1.2.3.4")], [("Cookie", "a=b")], [("Origin", "https://shop.example")],
    [("X-Long", "x" * 17_000)],
)  # fmt: skip
Headers = list[tuple[str, str]]
BODIES = {"Content-Length: 3": b"abc", "Transfer-Encoding: chunked": b"3\r\nabc\r\n0\r\n\r\n"}


def corpus() -> Iterator[tuple[str, str, Headers]]:
    for method in ("GET", "HEAD"):
        yield from ((method, f"/products/{product_id}", []) for product_id in IDS)
        yield from ((method, f"/products{query}", []) for query in QUERIES)
        yield from ((method, path, it) for path in ("/products/N", "/products/M", "/products") for it in CONDITIONS)
        yield from ((method, path, it) for path in ("/products/N", "/products?limit=2") for it in HEADERS)
    for method, path in itertools.product(("OPTIONS", "POST", "PATCH", "get", "QUERY"), ("/products/N", "/products")):
        yield method, path, []
    yield from (("GET", path, []) for path in ("/Products/N", "/products/N/", "/products/", "//products", "/product/N"))


class Passed:
    """ASGI middleware that counts what PlainReads does not answer."""

    count = 0

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        Passed.count += scope["type"] == "http"
        await self.app(scope, receive, send)


@pytest.fixture
async def ports(catalog_settings: CatalogSettings) -> AsyncIterator[tuple[int, int]]:
    """The ports of two catalogs on the same products, the first with and the second without plain reads."""
    with psycopg.connect(dsn(catalog_settings), autocommit=True) as connection:
        empty(connection)
    with_plain, without = build(catalog_settings), build(catalog_settings)
    with_plain.api.user_middleware.append(Middleware(Passed))
    assert str([it.cls for it in without.api.user_middleware]) == str([PlainReads])
    without.api.user_middleware.clear()
    async with serving(with_plain) as first, serving(without) as second:
        yield port_of(first), port_of(second)


def port_of(client: httpx.AsyncClient) -> int:
    return client.base_url.port or 0


@pytest.fixture
async def first_id(ports: tuple[int, int], auth_process: Auth) -> int:
    """The id of the first of PRODUCTS products; the last one is deleted."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports[1]}") as client:  # unchecked: made for the test
        made = [await create(client, auth_process, name=f"Product {number}") for number in range(PRODUCTS)]
        await client.delete(f"/products/{made[-1]['id']}", headers=auth_process.admin)
    return int(made[0]["id"])


async def answer(port: int, method: str, target: str, headers: Headers) -> bytes:
    """All that the server answers to a request as it is, byte for byte, on a connection of its own."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "Connection: close"]
    lines += [] if any(name == "Host" for name, _ in headers) else ["Host: 127.0.0.1"]
    lines += [] if any(name == "X-Request-ID" for name, _ in headers) else ["X-Request-ID: test-1"]
    body = next((body for line, body in BODIES.items() if line in lines), b"")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    received = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    return received


def comparable(received: bytes) -> tuple[bytes, list[bytes], bytes]:
    """Status line, headers and body, without what differs between any two answers: the date, and an id made here."""
    head, _, body = received.partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    made = [line.partition(b": ")[2] for line in headers if line.startswith(b"x-request-id: ")]
    assert len(made) == 1, received[:300]
    kept = sorted(line for line in headers if not line.startswith((b"date: ", b"x-request-id: ")))
    return status, kept, body.replace(made[0], b"REQUEST-ID")


async def test_the_same_answers_either_way(ports: tuple[int, int], first_id: int) -> None:
    requests = list(corpus())
    assert len(requests) >= 300
    names = {"N": str(first_id), "M": str(first_id + PRODUCTS - 1), "T": f'"{first_id}-1"', "C": cursor(first_id)}
    statuses = set()
    for method, path, headers in requests:
        target = path if path.startswith("/products?%") else path.replace("N", names["N"]).replace("M", names["M"])
        target = target.replace("cursor=C", f"cursor={names['C']}")
        sent = [(name, value.replace("T", names["T"]) if "Match" in name.title() else value) for name, value in headers]
        plain, ordinary = [comparable(await answer(port, method, target, sent)) for port in ports]
        assert plain == ordinary, (method, target, sent)
        statuses.add(int(plain[0].split()[1]))
    assert statuses >= {200, 304, 400, 404, 405, 415, 422, 431} - {415}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_plain_reads_do_not_reach_fastapi(ports: tuple[int, int], first_id: int, method: str) -> None:
    targets = [
        f"/products/{first_id}",
        "/products/999999999",
        "/products",
        "/products?limit=5",
        "/products?skip=1&limit=2",
    ]
    targets += [f"/products?cursor={cursor(first_id)}&limit=2", "/products?cursor="]
    before = Passed.count
    for target in targets:
        await answer(ports[0], method, target, [("If-None-Match", '"x"')])
    assert Passed.count == before
    await answer(ports[0], method, "/products?limit=501", [])
    assert Passed.count == before + 1, "what is refused is told by the ordinary route"


async def test_ids_out_of_range_never_reach_postgresql(
    ports: tuple[int, int], first_id: int, statements: list[str]
) -> None:
    for product_id in ("0", "9223372036854775808", "1" * 19, "9" * 19, "9" * 200, "-1"):
        received = await answer(ports[0], "GET", f"/products/{product_id}", [])
        assert received.split()[1] == (b"404" if product_id == "1" * 19 else b"422"), product_id
    # The purge of old tombstones may come between.
    reads = [it for it in statements if it.startswith("SELECT") and "catalog.products" in it]
    assert len(reads) == 1, "of 1111111111111111111"
