"""POST /auth/refresh and /auth/logout: sessions rotate, and a replayed token ends its own."""

import asyncio
import hashlib
from collections import Counter
from functools import partial
from typing import Any

import httpx
import psycopg
from jose import jwt

from auth import sessions
from auth.settings import AuthSettings
from common.web.orm import OrmDatabase
from tests.fixtures.auth import assert_problem, bearer, login, retry_while_unavailable, tokens


async def test_refreshing_gives_a_new_pair(auth: httpx.AsyncClient) -> None:
    first = await tokens(auth)
    answer = await refresh(auth, first)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    second = answer.json()
    assert second.keys() == first.keys()
    assert second["refresh_token"] != first["refresh_token"]
    assert (await auth.get("/auth/me", headers=bearer(second["access_token"]))).status_code == 200
    assert (await refresh(auth, second)).status_code == 200


async def test_a_lost_answer_can_be_asked_for_again(auth: httpx.AsyncClient) -> None:
    lost = await tokens(auth)
    answers = [await refresh(auth, lost) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert (await refresh(auth, answers[0].json())).status_code == 200


async def test_a_thief_within_the_grace_is_noticed(auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]) -> None:
    """Owner and thief have one successor, so whoever uses it second ends the session for both."""
    stolen = await tokens(auth)
    owners, thiefs = (await refresh(auth, stolen)).json(), (await refresh(auth, stolen)).json()
    newest = (await refresh(auth, owners)).json()
    _seconds_pass(auth_db, 11)
    assert_problem(await refresh(auth, thiefs), 401)
    assert_problem(await refresh(auth, newest), 401)


async def test_a_token_whose_successor_is_used_ends_the_session(auth: httpx.AsyncClient) -> None:
    stolen = await tokens(auth)
    newest = (await refresh(auth, (await refresh(auth, stolen)).json())).json()
    assert_problem(await refresh(auth, stolen), 401)
    assert_problem(await refresh(auth, newest), 401)


async def test_a_session_ends_90_days_after_the_login(
    auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]
) -> None:
    pair = await tokens(auth)
    auth_db.execute("UPDATE auth.sessions SET created_at = now() - interval '89 days 23 hours'")
    pair = (await refresh(auth, pair)).json()
    left = auth_db.execute("SELECT extract(epoch FROM expires_at - now()) FROM auth.sessions").fetchone()
    assert left is not None
    assert 3000 < left[0] <= 3600
    auth_db.execute("UPDATE auth.sessions SET created_at = now() - interval '91 days'")
    assert (await refresh(auth, pair)).status_code == 200
    last = auth_db.execute("SELECT expires_at <= now() FROM auth.sessions").fetchone()
    assert last == (True,)


async def test_a_user_has_20_sessions_and_the_oldest_ends(
    auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]
) -> None:
    first = await tokens(auth)
    second = (await login(auth, "ada@example.com")).json()
    others = await tokens(auth, "bob@example.com")
    for _ in range(19):
        newest = (await login(auth, "ada@example.com")).json()
    assert_problem(await refresh(auth, first), 401)
    for pair in (second, newest, others):
        assert (await refresh(auth, pair)).status_code == 200
    live = "SELECT count(*) FROM auth.sessions WHERE revoked_at IS NULL GROUP BY user_id ORDER BY 1"
    assert auth_db.execute(live).fetchall() == [(1,), (20,)]


async def test_a_session_is_refreshed_10_times_a_minute(
    auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]
) -> None:
    pair = await tokens(auth)
    for _ in range(10):
        answer = await refresh(auth, pair)
        assert answer.status_code == 200
        pair = answer.json()
    refused = await refresh(auth, pair)
    assert_problem(refused, 429)
    assert int(refused.headers["retry-after"]) > 0
    _seconds_pass(auth_db, 61)
    assert (await refresh(auth, pair)).status_code == 200


async def test_what_has_ended_is_deleted_by_age(
    auth: httpx.AsyncClient, auth_settings: AuthSettings, auth_db: psycopg.Connection[Any]
) -> None:
    ended, lasting = await tokens(auth), await tokens(auth, "bob@example.com")
    auth_db.execute("UPDATE auth.sessions SET expires_at = now() - interval '25 hours'")
    lasting = (await login(auth, "bob@example.com")).json()
    newest = (await refresh(auth, lasting)).json()
    auth_db.execute("UPDATE auth.refresh_tokens SET used_at = now() - interval '8 days' WHERE used_at IS NOT NULL")
    db = OrmDatabase(auth_settings, application="test")
    try:
        await sessions.delete_old(db)
    finally:
        await db.close()
    assert auth_db.execute("SELECT count(*) FROM auth.sessions").fetchone() == (1,)
    assert auth_db.execute("SELECT count(*) FROM auth.refresh_tokens").fetchone() == (1,)
    assert_problem(await refresh(auth, ended), 401)
    assert (await refresh(auth, newest)).status_code == 200


async def test_a_replay_after_the_grace_ends_the_session(
    auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]
) -> None:
    stolen = await tokens(auth)
    other = await tokens(auth, "bob@example.com")
    newest = (await refresh(auth, (await refresh(auth, stolen)).json())).json()
    _seconds_pass(auth_db, 11)
    assert_problem(await refresh(auth, stolen), 401)
    assert_problem(await refresh(auth, newest), 401)
    assert (await refresh(auth, other)).status_code == 200


async def test_within_the_grace_the_session_lives(auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]) -> None:
    first = await tokens(auth)
    second = (await refresh(auth, first)).json()
    _seconds_pass(auth_db, 9)
    assert (await refresh(auth, first)).status_code == 200
    assert (await refresh(auth, second)).status_code == 200


async def test_of_20_uses_at_once_all_get_one_successor(
    auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]
) -> None:
    pair = await tokens(auth)
    answers = await asyncio.gather(*(retry_while_unavailable(partial(refresh, auth, pair)) for _ in range(20)))
    assert Counter(answer.status_code for answer in answers) == {200: 20}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert auth_db.execute("SELECT count(*) FROM auth.refresh_tokens").fetchone() == (2,)
    assert (await refresh(auth, answers[0].json())).status_code == 200


async def test_an_expired_session_is_over(auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]) -> None:
    pair = await tokens(auth)
    lifetime = auth_db.execute("SELECT expires_at - created_at FROM auth.sessions").fetchone()
    assert lifetime is not None
    assert round(lifetime[0].total_seconds() / 86_400, 3) == 30
    auth_db.execute("UPDATE auth.sessions SET expires_at = now()")
    assert_problem(await refresh(auth, pair), 401)


async def test_the_role_of_a_new_token_is_the_users_of_now(
    auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]
) -> None:
    for email, role, new in (("a@example.com", "admin", "user"), ("b@example.com", "user", "admin")):
        pair = await tokens(auth, email, role=role)
        assert jwt.get_unverified_claims(pair["access_token"])["role"] == role
        pair = (await refresh(auth, pair)).json()
        assert jwt.get_unverified_claims(pair["access_token"])["role"] == role
        auth_db.execute("UPDATE auth.users SET role = %s WHERE email = %s", [new, email])
        pair = (await refresh(auth, pair)).json()
        assert jwt.get_unverified_claims(pair["access_token"])["role"] == new


async def test_a_deleted_user_has_no_session(auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]) -> None:
    pair = await tokens(auth)
    auth_db.execute("DELETE FROM auth.users")
    assert_problem(await refresh(auth, pair), 401)


async def test_logging_out_ends_the_session(auth: httpx.AsyncClient) -> None:
    first = await tokens(auth)
    second = (await refresh(auth, first)).json()
    for _ in range(2):
        answer = await auth.post("/auth/logout", json={"refresh_token": second["refresh_token"]})
        assert (answer.status_code, answer.content) == (204, b"")
    assert_problem(await refresh(auth, second), 401)
    assert_problem(await refresh(auth, first), 401)
    assert (await auth.post("/auth/logout", json={"refresh_token": "unknown"})).status_code == 204


async def test_logging_out_ends_this_session_alone(auth: httpx.AsyncClient) -> None:
    first = await tokens(auth)
    second = (await login(auth, "ada@example.com")).json()
    others = await tokens(auth, "bob@example.com")
    await auth.post("/auth/logout", json={"refresh_token": first["refresh_token"]})
    assert_problem(await refresh(auth, first), 401)
    for pair in (second, others):
        assert (await refresh(auth, pair)).status_code == 200


async def test_only_hashes_are_stored(auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]) -> None:
    pair = await tokens(auth)
    stored = auth_db.execute("SELECT token_hash FROM auth.refresh_tokens").fetchall()
    assert stored == [(hashlib.sha256(pair["refresh_token"].encode()).digest(),)]


async def test_bad_requests(auth: httpx.AsyncClient) -> None:
    for body in ({}, {"refresh_token": None}, {"refresh_token": 1}, {"refresh_token": "x", "more": 1}):
        assert_problem(await auth.post("/auth/refresh", json=body), 422)
        assert_problem(await auth.post("/auth/logout", json=body), 422)
    for token in ("", "x", "é" * 100):
        assert_problem(await auth.post("/auth/refresh", json={"refresh_token": token}), 401)


async def refresh(client: httpx.AsyncClient, pair: dict[str, Any]) -> httpx.Response:
    return await client.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]})


def _seconds_pass(db: psycopg.Connection[Any], seconds: int) -> None:
    db.execute("UPDATE auth.refresh_tokens SET used_at = used_at - make_interval(secs => %s)", [seconds])
