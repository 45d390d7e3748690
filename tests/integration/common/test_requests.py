"""What a service says to requests that are wrong, slow, too large or too many: directly, without the gateway's help."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from catalog.app import build
from catalog.settings import CatalogSettings
from common.web import body, protocol
from common.web.errors import Unprocessable
from common.web.middleware import AdmissionMiddleware
from tests.fixtures import checked
from tests.fixtures.auth import assert_problem
from tests.fixtures.catalog import Auth
from tests.fixtures.service import serving

ORIGIN = "https://shop.example"
PRODUCT = {"name": "Laptop", "price": 1, "category": "test"}


async def raw(client: httpx.AsyncClient, data: bytes, *more: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to what is sent as it is; reads until the server is done with it."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    try:
        for part in (data, *more):
            writer.write(part)
            await writer.drain()
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)).decode("latin-1")
        status, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        return int(status.split()[1]), headers, await asyncio.wait_for(reader.readexactly(length), 30)
    finally:
        writer.close()


async def holds(condition: Callable[[], bool]) -> None:
    """Wait until the service, in this event loop, has come so far."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


async def closes(client: httpx.AsyncClient, data: bytes) -> bytes:
    """What comes until the server ends the connection."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    try:
        writer.write(data)
        return await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()


class TestMethodsAndPaths:
    @pytest.mark.parametrize(
        ("method", "path", "allow"),
        [
            ("PATCH", "/products/1", "DELETE, GET, HEAD, OPTIONS, PUT"),
            ("DELETE", "/products", "GET, HEAD, OPTIONS, POST"),
            ("POST", "/health", "GET, HEAD, OPTIONS"),
        ],
    )
    async def test_405_names_all_methods_of_the_path(
        self, catalog: httpx.AsyncClient, method: str, path: str, allow: str
    ) -> None:
        answer = await catalog.request(method, path)
        assert_problem(answer, 405)
        assert answer.headers["allow"] == allow
        assert allow in answer.json()["detail"]

    async def test_options_names_them_too(self, catalog: httpx.AsyncClient) -> None:
        answer = await catalog.options("/products/1")
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PUT"
        assert_problem(await catalog.options("/nothing"), 404)

    @pytest.mark.parametrize(
        ("path", "meant"),
        [("/products/", "/products"), ("/Products", "/products"), ("/products/1/", "/products/1"),
         ("/PRODUCTS/1//", "/products/1"), ("/Health", "/health"), ("/openapi.json/", "/openapi.json")],
    )  # fmt: skip
    async def test_404_names_the_path_that_was_meant(self, catalog: httpx.AsyncClient, path: str, meant: str) -> None:
        answer = await catalog.get(path)
        assert_problem(answer, 404)
        assert answer.json()["detail"] == f"Nothing is served under this path; {meant} is."

    async def test_404_guesses_nothing_else(self, catalog: httpx.AsyncClient) -> None:
        for path in ("/nothing/", "/INTERNAL/imports/a/runs/b", "/products/" + "a" * 300 + "/"):
            answer = await catalog.get(path)
            assert_problem(answer, 404)
            assert "; " not in (answer.json()["detail"] or "")

    async def test_a_health_check_takes_no_parameters(self, catalog: httpx.AsyncClient) -> None:
        answer = await catalog.get("/health?verbose=1")
        assert_problem(answer, 422)
        assert answer.json()["errors"] == [{"parameter": "verbose", "detail": "is not known here"}]


class TestBodies:
    async def test_who_may_not_write_is_told_before_the_body_is_read(
        self, catalog: httpx.AsyncClient, auth_process: Auth
    ) -> None:
        lines = ("Content-Type: application/json", "Content-Length: 100000")
        status, headers, _ = await raw(catalog, head("POST", "/products", *lines))
        assert (status, headers["www-authenticate"]) == (401, 'Bearer realm="products-api"')
        token = f"Authorization: {auth_process.user['Authorization']}"
        status, _, _ = await raw(catalog, head("PUT", "/products/1", *lines, token))
        assert status == 403

    async def test_a_route_has_its_own_limit(self, catalog: httpx.AsyncClient, auth_process: Auth) -> None:
        token = f"Authorization: {auth_process.admin['Authorization']}"
        json_body = "Content-Type: application/json"
        status, _, sent = await raw(catalog, head("POST", "/products", json_body, token, "Content-Length: 131073"))
        assert (status, json.loads(sent)["detail"]) == (413, "The body is larger than 131072 bytes.")
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        chunked = head("POST", "/products", json_body, token, "Transfer-Encoding: chunked")
        status, _, _ = await raw(catalog, chunked, chunk, chunk, chunk)
        assert status == 413

    async def test_the_largest_body_that_is_allowed_is_taken(
        self, catalog: httpx.AsyncClient, auth_process: Auth
    ) -> None:
        text = json.dumps(PRODUCT)
        answer = await catalog.post(
            "/products", content=text + " " * (128 * 1024 - len(text)),
            headers=auth_process.admin | {"Content-Type": "application/json"},
        )  # fmt: skip
        assert answer.status_code == 201

    @pytest.mark.parametrize(
        "headers",
        [
            {"Content-Type": "application/json; charset=utf-16"},
            {"Content-Type": "application/json", "Content-Encoding": "gzip"},
            {"Content-Type": "text/json"},
        ],
    )
    async def test_other_encodings_are_refused(
        self, catalog: httpx.AsyncClient, auth_process: Auth, headers: dict[str, str]
    ) -> None:
        sent = {"content": json.dumps(PRODUCT), "headers": auth_process.admin | headers}
        assert_problem(await catalog.post("/products", **sent), 415)  # type: ignore[arg-type]

    async def test_plain_utf8_by_any_name_is_taken(self, catalog: httpx.AsyncClient, auth_process: Auth) -> None:
        for kind in ('application/json; charset="UTF-8"', "application/json;charset=utf8", "application/ld+json"):
            headers = auth_process.admin | {"Content-Type": kind, "Content-Encoding": "identity"}
            answer = await catalog.post("/products", content=json.dumps(PRODUCT), headers=headers)
            assert answer.status_code == 201, kind

    async def test_a_sender_who_is_too_slow_is_ended(
        self, catalog: httpx.AsyncClient, auth_process: Auth, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(body, "GRACE_SECONDS", 0.2)
        token = f"Authorization: {auth_process.admin['Authorization']}"
        lines = ("Content-Type: application/json", "Content-Length: 100", token)
        answer = await closes(catalog, head("POST", "/products", *lines) + b'{"name": ')
        assert b" 408 " in answer
        assert b"application/problem+json" in answer

    async def test_all_unfinished_bodies_together_are_bounded(
        self, catalog: httpx.AsyncClient, auth_process: Auth, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(body, "MAX_HELD", 100_000)
        lines = ("Content-Type: application/json", "Content-Length: 120000")
        start = head("POST", "/products", *lines, f"Authorization: {auth_process.admin['Authorization']}")
        _, writer = await asyncio.open_connection(catalog.base_url.host, catalog.base_url.port)
        writer.write(start + b" " * 90_000)
        await writer.drain()
        await holds(lambda: body._Held.total >= 90_000)
        status, headers, _ = await raw(catalog, start + b" " * 20_000)
        assert (status, headers["retry-after"]) == (503, "1")
        writer.close()
        await holds(lambda: not body._Held.total)
        assert (await catalog.post("/products", json=PRODUCT, headers=auth_process.admin)).status_code == 201


class TestErrors:
    async def test_no_more_than_20_are_told_and_none_at_length(
        self, catalog: httpx.AsyncClient, auth_process: Auth
    ) -> None:
        unknown = {f"unknown{number}-{'x' * 1000}": 1 for number in range(100)}
        answer = await catalog.post("/products", json=unknown, headers=auth_process.admin)
        assert_problem(answer, 422)
        problem = answer.json()
        assert len(problem["errors"]) == Unprocessable.MAX_ERRORS == 20
        assert problem["truncated"] is True
        assert max(len(error["pointer"]) for error in problem["errors"]) <= 200
        few = await catalog.post("/products", json={"name": 1}, headers=auth_process.admin)
        assert "truncated" not in few.json()

    async def test_many_parameters_are_told_in_part(self, catalog: httpx.AsyncClient) -> None:
        answer = await catalog.get("/products?" + "&".join(f"a{number}=1" for number in range(500)))
        assert_problem(answer, 422)
        assert len(answer.json()["errors"]) == 20
        assert answer.json()["truncated"] is True

    async def test_a_500_says_nothing_of_its_cause(
        self, catalog_settings: CatalogSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(*_: Any) -> None:
            raise RuntimeError("canary-of-the-cause")

        monkeypatch.setattr("catalog.products.get", broken)
        async with serving(build(catalog_settings)) as client:
            answer = await client.get("/products/1", extensions=checked.DEFECT)
        assert_problem(answer, 500)
        assert "canary" not in answer.text
        assert answer.json()["request_id"] == answer.headers["x-request-id"]

    @pytest.mark.parametrize("data", [b"no http\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /\x00 HTTP/1.1\r\n\r\n"])
    async def test_what_is_no_http_gets_a_problem_too(self, catalog: httpx.AsyncClient, data: bytes) -> None:
        status, headers, sent = await raw(catalog, data)
        assert (status, headers["content-type"], headers["connection"]) == (400, "application/problem+json", "close")
        assert json.loads(sent)["request_id"] == headers["x-request-id"]

    async def test_a_head_without_end_is_not_kept(self, catalog: httpx.AsyncClient) -> None:
        line = b"X-Long: " + b"a" * 8000 + b"\r\n"
        status, headers, _ = await raw(catalog, b"GET /products HTTP/1.1\r\nHost: a\r\n" + line * 50)
        assert (status, headers["content-type"]) == (431, "application/problem+json")


class TestConnections:
    async def test_a_head_that_does_not_end_is_ended(
        self, catalog: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
        assert await closes(catalog, b"GET /products HTTP/1.1\r\nHost: a\r\n") == b""

    async def test_a_body_that_nobody_reads_is_ended(
        self, catalog: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(protocol, "REST_SECONDS", 0.2)
        answer = await closes(catalog, head("POST", "/products", "Content-Length: 1000") + b"{")
        assert answer.startswith(b"HTTP/1.1 401 ")

    async def test_a_connection_serves_on_after_a_request_in_parts(
        self, catalog: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The bound on one head must not end the connection of the next."""
        monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
        reader, writer = await asyncio.open_connection(catalog.base_url.host, catalog.base_url.port)
        for _ in range(3):
            writer.write(b"GET /livez HTTP/1.1\r\n")
            await asyncio.sleep(0.15)
            writer.write(b"Host: a\r\n\r\n")
            answered = await reader.readuntil(b"}")
            assert answered.startswith(b"HTTP/1.1 200 ")
        writer.close()

    async def test_more_requests_than_it_can_serve_are_refused_but_probes_are_not(self) -> None:
        answers: list[int] = []
        waiting = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/slow":
                await waiting.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answers.append(message["status"])

        def ask(path: str) -> asyncio.Task[None]:
            scope = {"type": "http", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": []}
            return asyncio.create_task(admitting(scope, None, send))  # type: ignore[arg-type]

        admitting = AdmissionMiddleware(app, most=2)
        slow = [ask("/slow"), ask("/slow")]
        await asyncio.sleep(0)
        await ask("/products")
        await ask("/health")
        assert answers == [503, 200]
        waiting.set()
        await asyncio.gather(*slow)
        await ask("/products")
        assert answers == [503, 200, 200, 200, 200]


class TestHeaders:
    @pytest.fixture
    async def shop(self, catalog_settings: CatalogSettings) -> AsyncIterator[httpx.AsyncClient]:
        settings = catalog_settings.model_copy(update={"backend_cors_origins": (ORIGIN,)})
        async with serving(build(settings)) as client:
            yield client

    async def test_a_browser_may_read_every_refusal(self, shop: httpx.AsyncClient) -> None:
        refusals = [
            await shop.get("/products?a=" + "b" * 9000, headers={"Origin": ORIGIN}),
            await shop.get("/products", headers={"Origin": ORIGIN, "X-Long": "b" * 17000}),
            await shop.get("/nothing", headers={"Origin": ORIGIN}),
            await shop.patch("/products/1", headers={"Origin": ORIGIN}),
        ]
        assert [answer.status_code for answer in refusals] == [414, 431, 404, 405]
        assert {answer.headers["access-control-allow-origin"] for answer in refusals} == {ORIGIN}
        assert all("Origin" in answer.headers["vary"] for answer in refusals)

    async def test_preflight_still_works(self, shop: httpx.AsyncClient) -> None:
        headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT"}
        answer = await shop.options("/products/1", headers=headers)
        assert answer.status_code == 200
        assert "PUT" in answer.headers["access-control-allow-methods"]

    async def test_every_answer_says_how_long_it_may_be_kept(
        self, catalog: httpx.AsyncClient, auth_process: Auth
    ) -> None:
        made = await catalog.post("/products", json=PRODUCT, headers=auth_process.admin)
        url = made.headers["location"]
        unchanged = await catalog.get(url, headers={"If-None-Match": made.headers["etag"]})
        seen = {
            "created": made, "list": await catalog.get("/products"), "one": await catalog.get(url),
            "unchanged": unchanged, "none": await catalog.get("/products/999999"),
            "health": await catalog.get("/health"), "document": await catalog.get("/openapi.json"),
        }  # fmt: skip
        assert {name: answer.headers["cache-control"] for name, answer in seen.items()} == {
            "created": "no-store", "list": "no-cache", "one": "no-cache", "unchanged": "no-cache", "none": "no-store",
            "health": "no-store", "document": "no-cache",
        }  # fmt: skip
