"""The gateway alone: which paths are public, and what becomes of a request on its way."""

import re
from collections.abc import Iterator

import pytest

from tests.fixtures.gateway import Gateway, gateway
from tests.fixtures.waiting import until

PUBLIC = {
    "/products": "catalog",
    "/products/1": "catalog",
    "/products?skip=0&q=a//b%2F..": "catalog",
    "/products/a%20b": "catalog",
    "/health": "catalog",
    "/docs": "catalog",
    "/docs/x.js": "catalog",
    "/redoc": "catalog",
    "/": "catalog",
    "/problems": "catalog",
    "/favicon.ico": "catalog",
    "/redoc/": "catalog",
    "/health/": "catalog",
    "/Products/1": "catalog",
    "/HEALTH": "catalog",
    "/Docs": "catalog",
    "/AUTH/login": "auth",
    "/openapi.json": "catalog",
    "/auth/login": "auth",
    "/auth": "auth",
    "/.well-known/jwks.json": "auth",
    "/sync/status": "sync",
    "/sync": "sync",
}
ORIGINS = '["https://shop.example/", "https://admin.example"]'
SECRET = ("internal", "metrics", "livez", "internal/imports/dummyjson/pages")
SPELLINGS = (
    "/{}",
    "//{}",
    "///{}",
    "/./{}",
    "/{}/",
    "/{}?x=/products",
    "/auth/../{}",
    "/auth/..//{}",
    "/products/../{}",
    "/products/./../{}",
    "/products/..%2f{}",
    "/products/..%5c{}",
    "/products/..\\{}",
    "/products%2f..%2f{}",
    "/products/%2e%2e/{}",
    "/products/%2E%2E%2F{}",
    "/products/.%2e/{}",
    "/products/%252e%252e/{}",
    "/products//{}",
    "/products/%2f{}",
    "/sync/..;/{}",
    "/%2f{}",
    "/%2e/{}",
    "/%5c{}",
    "\\{}",
    "/docs/../{}",
    "/health/../{}",
    "/health/{}",
    "/.well-known/jwks.json/../../{}",
    "/.well-known/{}",
    "http://127.0.0.1/{}",
    "http://127.0.0.1//{}",
    "http://catalog/products/../{}",
)
ODD_CASE = ("/Internal", "/METRICS", "/LiveZ", "/%69nternal", "/%4detrics", "/internal%00", "/metrics%20", "/metrics;a")


@pytest.fixture(scope="module")
def started() -> Iterator[Gateway]:
    with gateway(BACKEND_CORS_ORIGINS=ORIGINS) as running:
        yield running


@pytest.fixture
def door(started: Gateway) -> Gateway:
    return started.fresh()


@pytest.mark.parametrize(("target", "service"), PUBLIC.items())
def test_public_paths_reach_their_service_unchanged(door: Gateway, target: str, service: str) -> None:
    answer = door.get(target)

    assert (answer.status, answer.body) == (200, service.encode())
    assert [path for _, path, _ in door.services[service].seen] == [target]


@pytest.mark.parametrize("service", ["auth", "sync"])
def test_health_of_a_service_has_a_path_below_its_own(door: Gateway, service: str) -> None:
    assert door.get(f"/{service}/health").body == service.encode()
    assert [path for _, path, _ in door.services[service].seen] == [f"/{service}/health"]


@pytest.mark.parametrize("secret", SECRET)
def test_no_spelling_of_a_private_path_reaches_a_service(door: Gateway, secret: str) -> None:
    for spelling in SPELLINGS:
        for method in ("GET", "POST", "HEAD"):
            answer = door.get(spelling.format(secret), method=method)

            assert answer.status in (400, 404), spelling
            assert not door.asked(), spelling
            assert "server" not in answer.headers


@pytest.mark.parametrize("target", [*ODD_CASE, "/nothing", "/productsx", "/authx/login", "/docsx", "/problemsx"])
def test_everything_else_is_a_problem_document(door: Gateway, target: str) -> None:
    answer = door.get(target)

    assert answer.status == 404
    assert answer.problem["title"] == "Not Found"
    assert not door.asked()


@pytest.mark.parametrize("origin", ["https://shop.example", "https://admin.example"])
def test_a_page_of_an_allowed_origin_can_read_a_refusal(door: Gateway, origin: str) -> None:
    headers = door.get("/nothing", f"Origin: {origin}").headers

    assert headers["access-control-allow-origin"] == origin
    assert headers["access-control-allow-credentials"] == "true"
    assert "X-Request-ID" in headers["access-control-expose-headers"]
    assert headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", ["https://evil.example", "https://shop.example.evil.example", "", "null"])
def test_a_page_of_another_origin_can_not(door: Gateway, origin: str) -> None:
    assert "access-control-allow-origin" not in door.get("/nothing", f"Origin: {origin}").headers


@pytest.mark.parametrize(
    "target", ['x:","status":200,"a":"', '/nothing","status":200,"a":"', "/nothing\\", "*", "nothing"]
)
def test_no_request_target_adds_members_to_a_problem(door: Gateway, target: str) -> None:
    answer = door.get(target)

    assert answer.problem["status"] in (400, 404)
    assert not door.asked()


def test_instance_is_the_path_without_the_query(door: Gateway) -> None:
    assert door.get('/nothing/"{x}%22?token=secret').problem["instance"] == '/nothing/"{x}%22'


class TestRequestId:
    def test_a_good_one_is_kept_and_passed_on(self, door: Gateway) -> None:
        answer = door.get("/products", "X-Request-ID: order-7.a_B")

        assert answer.headers["x-request-id"] == "order-7.a_B"
        assert door.services["catalog"].seen[0][2]["x-request-id"] == "order-7.a_B"

    @pytest.mark.parametrize(
        "bad", ["a b", "a" * 65, "", "x{http.request.uri}", 'a"b', "<x>", "a,b", "ok\r\nX-Request-ID: second"]
    )
    def test_a_bad_one_is_replaced(self, door: Gateway, bad: str) -> None:
        answer = door.get("/products", f"X-Request-ID: {bad}")

        assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-request-id"])
        assert door.services["catalog"].seen[0][2]["x-request-id"] == answer.headers["x-request-id"]

    def test_that_of_a_problem_is_in_the_log(self, door: Gateway) -> None:
        made = door.get("/nothing?token=secret").problem["request_id"]

        assert door.get("/nothing", "X-Request-ID: mine-1").problem["request_id"] == "mine-1"
        until(lambda: made in door.log() and "mine-1" in door.log())
        assert "secret" not in door.log()

    def test_what_services_answer_is_not_logged_twice(self, door: Gateway) -> None:
        door.get("/products", "X-Request-ID: served-1")
        door.get("/nothing", "X-Request-ID: refused-1")

        until(lambda: "refused-1" in door.log())
        assert "served-1" not in door.log()


class TestHeaders:
    def test_a_client_cannot_pretend_to_be_another_address(self, door: Gateway) -> None:
        door.get("/products", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example")

        seen = door.services["catalog"].seen[0][2]
        assert seen["x-forwarded-for"] == "127.0.0.1"
        assert seen["x-forwarded-proto"] == "http"
        assert "x-forwarded-host" not in seen

    def test_no_answer_names_the_software(self, door: Gateway) -> None:
        for target in ("/products", "/nothing"):
            answer = door.get(target)
            assert "server" not in answer.headers
            assert "via" not in answer.headers

    def test_encodings_are_left_to_client_and_service(self, door: Gateway) -> None:
        door.get("/products")

        assert "accept-encoding" not in door.services["catalog"].seen[0][2]


class TestLimits:
    def test_long_url(self, door: Gateway) -> None:
        assert door.get("/products?" + "a" * 8300).problem["status"] == 414
        assert not door.asked()
        assert door.get("/products?" + "a" * 8000).status == 200

    def test_large_headers_reach_the_service_that_refuses_them(self, door: Gateway) -> None:
        door.get("/products", "X-Big: " + "a" * 60_000)

        assert len(door.services["catalog"].seen) == 1

    def test_large_body(self, door: Gateway) -> None:
        head = b"POST /products HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"

        assert door.send(head % 131_073 + b"a" * 131_073).problem["status"] == 413
        assert not door.asked()
        assert door.send(head % 131_072 + b"a" * 131_072).status == 200

    def test_large_body_of_unknown_length(self, door: Gateway) -> None:
        head = b"POST /products HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunk = b"1000\r\n" + b"a" * 0x1000 + b"\r\n"

        assert door.send(head + chunk * 40 + b"0\r\n\r\n").problem["status"] == 413
        assert door.send(head + chunk * 4 + b"0\r\n\r\n").status == 200


class TestUnreadyService:
    def test_is_taken_out_yet_its_health_stays_truthful(self, door: Gateway) -> None:
        service = door.services["sync"]
        service.healthy = False
        until(lambda: door.get("/sync/status").status == 503)

        answer = door.get("/sync/status")
        assert answer.problem["title"] == "Service Unavailable"
        assert answer.headers["retry-after"] == "1"
        health = door.get("/sync/health")
        assert (health.status, health.body) == (503, b"sync")
        assert door.get("/products").status == 200

        service.healthy = True
        until(lambda: door.get("/sync/status").status == 200)
