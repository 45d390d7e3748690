"""The clients of the tests refuse an answer that the OpenAPI document does not have."""

import ast
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures import checked

ROOT = Path(__file__).parents[3]
ALWAYS = {"X-Request-ID": "abc", "Cache-Control": "no-store"}
TAGGED = ALWAYS | {"ETag": '"1-0"'}
PRODUCT = {
    "id": 1, "name": "Laptop", "description": "", "price": 19.99, "currency": "USD", "category": "electronics",
    "brand": None, "sku": None, "stock": 3, "image_url": None, "attributes": {"any": ["thing"]}, "source": None,
    "external_id": None, "version": 1, "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00.5Z",
    "synced_at": None, "pinned": [],
}  # fmt: skip
PAGE = {"items": [PRODUCT], "total": 1, "skip": 0, "limit": 100, "next": None}
CHECK = {"status": "ok", "critical": True, "latency_ms": 1.5}
READY = {"status": "ok", "service": "catalog", "version": "1.0.0", "checks": {"postgres": CHECK}}


def problem(status: int, **members: Any) -> dict[str, Any]:
    common = {
        "type": "about:blank",
        "title": "T",
        "status": status,
        "detail": None,
        "instance": "/",
        "request_id": "abc",
    }
    return common | members


def ask(method: str, path: str, status: int, headers: dict[str, str], body: Any = None) -> httpx.Response:
    """Request what answers so."""
    media_type = "application/problem+json" if status >= 400 else "application/json"
    sent = {"Content-Type": media_type} if body is not None else {}
    answer = httpx.Response(status, headers=sent | headers, content=None if body is None else json.dumps(body))
    with checked.Client(base_url="http://test", transport=httpx.MockTransport(lambda _: answer)) as client:
        return client.request(method, path)


@pytest.mark.parametrize(
    ("method", "path", "status", "headers", "body"),
    [
        ("GET", "/products?limit=1", 200, ALWAYS, PAGE),
        ("GET", "/products/1", 200, TAGGED, PRODUCT),
        ("GET", "/products/1", 304, TAGGED, None),
        ("HEAD", "/products/1", 200, TAGGED | {"Content-Type": "application/json"}, None),
        ("POST", "/products", 201, TAGGED | {"Location": "/products/1"}, PRODUCT),
        ("DELETE", "/products/1", 204, ALWAYS, None),
        ("GET", "/products/1", 404, ALWAYS, problem(404)),
        ("GET", "/products?limit=0", 422, ALWAYS, problem(422, errors=[{"parameter": "limit", "detail": "no"}])),
        ("GET", "/products", 503, ALWAYS | {"Retry-After": "1"}, problem(503)),
        ("GET", "/products", 431, ALWAYS, problem(431)),
        ("PATCH", "/products/1", 405, ALWAYS | {"Allow": "GET"}, problem(405)),
        ("OPTIONS", "/products/1", 204, ALWAYS | {"Allow": "GET"}, None),
        ("GET", "/nothing", 404, ALWAYS, problem(404)),
        ("GET", "/health", 200, ALWAYS, READY),
        ("GET", "/health", 200, ALWAYS, READY | {"service": "sync", "retry_at": None}),
        ("GET", "/docs", 200, ALWAYS, None),
    ],
)  # fmt: skip
def test_a_documented_answer_passes(
    method: str, path: str, status: int, headers: dict[str, str], body: Any
) -> None:  # fmt: skip
    assert ask(method, path, status, headers, body).status_code == status


@pytest.mark.parametrize(
    ("method", "path", "status", "headers", "body", "told"),
    [
        ("GET", "/products", 200, ALWAYS, PAGE | {"total": "1"}, r"\$\.total: '1' is not of type 'integer'"),
        ("GET", "/products", 200, ALWAYS, PAGE | {"items": [PRODUCT | {"sku": 5}]}, r"\$\.items\[0\]\.sku: 5 is not"),
        ("GET", "/products", 200, ALWAYS, {"items": []}, "'total' is a required property"),
        ("GET", "/products", 200, ALWAYS, PAGE | {"more": 1}, "'more' was unexpected"),
        ("GET", "/products/1", 200, TAGGED, PRODUCT | {"created_at": "yesterday"}, "'yesterday' is not a 'date-time'"),
        ("GET", "/products/1", 200, ALWAYS, PRODUCT, "the header ETag is missing"),
        ("GET", "/products/1", 304, ALWAYS, None, "the header ETag is missing"),
        ("HEAD", "/products/1", 200, TAGGED, None, "the media type is none"),
        ("POST", "/products", 201, TAGGED, PRODUCT, "the header Location is missing"),
        ("POST", "/products", 200, TAGGED, PRODUCT, "this status is not documented"),
        ("DELETE", "/products/1", 204, ALWAYS | {"Content-Type": "application/json"}, None, "documented is \\[\\]"),
        ("GET", "/products", 200, {"X-Request-ID": "abc"}, PAGE, "the header Cache-Control is missing"),
        ("GET", "/products", 200, ALWAYS | {"X-Request-ID": "a b"}, PAGE, "X-Request-ID: .* does not match"),
        ("GET", "/products", 200, ALWAYS | {"X-Debug": "1"}, PAGE, "not documented: {'x-debug'}"),
        ("GET", "/products", 200, ALWAYS | {"Content-Type": "text/json"}, PAGE, "the media type is text/json"),
        ("GET", "/products", 500, ALWAYS, problem(500), "this status is not documented"),
        ("GET", "/products", 409, ALWAYS, problem(409), "this status is not documented"),
        ("GET", "/products", 503, ALWAYS, problem(503), "the header Retry-After is missing"),
        ("GET", "/products", 503, ALWAYS | {"Retry-After": "soon"}, problem(503), "Retry-After: .* is not of type"),
        ("GET", "/products", 503, ALWAYS | {"Retry-After": "1"}, problem(503, cause="x"), "'cause' was unexpected"),
        ("GET", "/products", 422, ALWAYS, problem(422), "'errors' is a required property"),
        ("GET", "/products/1", 404, ALWAYS | {"Content-Type": "application/json"}, problem(404), "the media type is"),
        ("PATCH", "/products/1", 405, ALWAYS, problem(405), "the header Allow is missing"),
        ("PATCH", "/products/1", 200, ALWAYS, PRODUCT, "this operation is not documented"),
        ("GET", "/prices", 200, ALWAYS, {}, "this operation is not documented"),
        ("GET", "/prices", 500, ALWAYS, problem(500), "this operation is not documented"),
        ("GET", "/nothing", 404, ALWAYS, {"detail": "Not Found"}, "is a required property"),
        ("GET", "/health", 200, ALWAYS, READY | {"checks": {"postgres": {"status": "fine"}}}, r"\$\.checks\.postgres"),
        ("GET", "/health", 200, ALWAYS, READY | {"retry_at": None}, "'retry_at' was unexpected"),
        ("GET", "/docs", 200, {}, None, "the header X-Request-ID is missing"),
    ],
)  # fmt: skip
def test_another_answer_fails_the_request(
    method: str, path: str, status: int, headers: dict[str, str], body: Any, told: str
) -> None:
    with pytest.raises(checked.Undocumented, match=told):
        ask(method, path, status, headers, body)


def test_a_test_that_breaks_the_service_says_so() -> None:
    answer = httpx.Response(500, headers=ALWAYS | {"Content-Type": "application/problem+json"}, json=problem(500))
    with checked.Client(base_url="http://test", transport=httpx.MockTransport(lambda _: answer)) as client:
        assert client.get("/products", extensions=checked.DEFECT).status_code == 500
        with pytest.raises(checked.Undocumented):
            client.get("/products")


async def test_the_asynchronous_client_checks_too() -> None:
    answer = httpx.Response(200, headers=ALWAYS, json={})
    async with checked.AsyncClient(base_url="http://test", transport=httpx.MockTransport(lambda _: answer)) as client:
        with pytest.raises(checked.Undocumented):
            await client.get("/products")


FUNCTIONS = {
    f"httpx.{name}" for name in ("get", "post", "put", "patch", "delete", "head", "options", "request", "stream")
}
FUNCTIONS |= {"urllib.request.urlopen", "urlopen"}


def unchecked(source: str) -> list[int]:
    """The lines that ask a server by httpx or urllib, and name no reason to."""
    lines, found = source.splitlines(), []
    for node in ast.walk(ast.parse(source)):
        client = isinstance(node, ast.Call) and ast.unparse(node.func) in ("httpx.Client", "httpx.AsyncClient")
        function = isinstance(node, ast.Attribute) and ast.unparse(node) in FUNCTIONS
        if isinstance(node, ast.expr) and (client or function):
            if "# unchecked: " not in lines[(node.end_lineno or node.lineno) - 1]:
                found.append(node.lineno)
    return found


def test_every_test_of_a_running_service_uses_them() -> None:
    files = [file for name in ("integration", "e2e", "fixtures") for file in (ROOT / "tests" / name).rglob("*.py")]
    files.append(ROOT / "tests/contract/test_permissions.py")
    files.remove(Path(checked.__file__))
    found = [f"{file}:{line}" for file in files for line in unchecked(file.read_text("utf-8"))]
    assert len(files) > 50
    assert not found, "use tests.fixtures.checked, or say why not: `# unchecked: reason`"


@pytest.mark.parametrize(
    "line",
    [
        "httpx.get(url)",
        "client = httpx.AsyncClient(base_url=url)",
        "urllib.request.urlopen(url)",
        "ask = httpx.post",
        "httpx.get(url)  # unchecked",
    ],
)
def test_one_that_does_not_is_found(line: str) -> None:
    assert unchecked(line) == [1]


@pytest.mark.parametrize(
    "line", ["httpx.get(url)  # unchecked: metrics", "checked.get(url)", "def ask(client: httpx.AsyncClient): ..."]
)
def test_the_others_are_not(line: str) -> None:
    assert unchecked(line) == []
