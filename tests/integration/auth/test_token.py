"""POST /auth/token: the password grant for Swagger UI, and client credentials for sync."""

import base64
from typing import Any

import httpx
import pytest
from jose import jwk

from common.web import tokens
from tests.fixtures.auth import PASSWORD, SYNC_SECRET, assert_problem, bearer, login, register

CLIENT = {"grant_type": "client_credentials"}


class Published:
    """A KeyProvider over the published set, as the other services have it."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def key(self, kid: str) -> Any:
        answer = await self._client.get("/.well-known/jwks.json")
        keys = {item["kid"]: jwk.construct(item, "ES256") for item in answer.json()["keys"]}
        return keys.get(kid)


async def test_the_password_grant(auth: httpx.AsyncClient) -> None:
    await register(auth, "ada@example.com")
    form = {"grant_type": "password", "username": "ADA@example.com", "password": PASSWORD, "scope": "", "other": "x"}
    answer = await auth.post("/auth/token", data=form)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json().keys() == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert (await auth.get("/auth/me", headers=bearer(answer.json()["access_token"]))).status_code == 200


async def test_the_password_grant_has_the_limits_of_login(auth: httpx.AsyncClient) -> None:
    await register(auth, "ada@example.com")
    form = {"grant_type": "password", "username": "ada@example.com", "password": "wrong"}
    for turn in range(5):
        by_login = turn % 2
        answer = await (login(auth, "ada@example.com", "wrong") if by_login else auth.post("/auth/token", data=form))
        assert_problem(answer, 401)
        assert answer.json()["error"] == "invalid_grant"
    assert_problem(await auth.post("/auth/token", data=form | {"password": PASSWORD}), 429)
    assert_problem(await login(auth, "ada@example.com"), 429)


async def test_sync_proves_itself_by_form_or_by_header(auth: httpx.AsyncClient) -> None:
    by_form = await auth.post("/auth/token", data=CLIENT | {"client_id": "sync", "client_secret": SYNC_SECRET})
    by_header = await auth.post("/auth/token", data=CLIENT, auth=("sync", SYNC_SECRET))
    for answer in (by_form, by_header):
        assert answer.status_code == 200
        body = answer.json()
        assert (body["token_type"], body["expires_in"], body["scope"]) == ("bearer", 300, "catalog:import")
        assert "refresh_token" not in body
        token = await tokens.TokenVerifier(Published(auth)).verify(body["access_token"])
        assert (token.subject, token.role, token.scopes) == ("sync", "service", frozenset({"catalog:import"}))


@pytest.mark.parametrize("client", [("sync", "wrong"), ("sync", ""), ("catalog", SYNC_SECRET), ("", ""), ("sync", "é")])
async def test_a_wrong_client_is_refused(auth: httpx.AsyncClient, client: tuple[str, str]) -> None:
    name, secret = client
    by_form = await auth.post("/auth/token", data=CLIENT | {"client_id": name, "client_secret": secret})
    basic = base64.b64encode(f"{name}:{secret}".encode()).decode()
    by_header = await auth.post("/auth/token", data=CLIENT, headers={"Authorization": f"Basic {basic}"})
    for answer in (by_header, by_form):
        if answer.json()["error"] == "invalid_request":
            assert_problem(answer, 400)
            assert "" in client
        else:
            assert_problem(answer, 401)
            assert answer.json()["error"] == "invalid_client"
            assert answer.headers["www-authenticate"].startswith("Basic ")


async def test_bad_requests_say_what_is_wrong(auth: httpx.AsyncClient) -> None:
    assert_problem(await auth.post("/auth/token", json={"grant_type": "password"}), 415)
    multipart = {"files": {"username": (None, "a"), "password": (None, "b")}}
    assert_problem(await auth.post("/auth/token", **multipart), 415)  # type: ignore[arg-type]
    cases: dict[str, tuple[dict[str, str], int, str | None]] = {
        "no username": ({"grant_type": "password", "password": "x"}, 400, "invalid_request"),
        "no password": ({"grant_type": "password", "username": "x"}, 400, "invalid_request"),
        "no client": (CLIENT, 400, "invalid_request"),
        "another grant": ({"grant_type": "implicit"}, 400, "unsupported_grant_type"),
        "NUL": ({"grant_type": "password", "username": "a\0", "password": "x"}, 422, None),
        "long": ({"grant_type": "password", "username": "a", "password": "x" * 129}, 422, None),
    }
    for name, (form, status, error) in cases.items():
        answer = await auth.post("/auth/token", data=form)
        assert_problem(answer, status)
        assert answer.json().get("error") == error, name
    for header in ("Basic", "Basic !!!", "Basic " + base64.b64encode(b"\xff:\xff").decode(), "Basic c3luYw=="):
        assert_problem(await auth.post("/auth/token", data=CLIENT, headers={"Authorization": header}), 401)
    raw = {"content-type": "application/x-www-form-urlencoded"}
    for content in (b"username=%ff&password=%00", b"%", b"=&=&=", b"\xff\xfe", b"username=" + b"a" * 5000):
        answer = await auth.post("/auth/token", content=content, headers=raw)
        assert answer.status_code in (400, 401, 422), (content, answer.text)
        assert_problem(answer, answer.status_code)
