"""POST /auth/refresh and /auth/logout: sessions rotate, and a replayed token ends its own."""

import asyncio
import hashlib
from collections import Counter
from functools import partial
from typing import Any

import httpx
import psycopg

from tests.fixtures.auth import assert_problem, bearer, insist, tokens


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
    first, again, third = [await refresh(auth, lost) for _ in range(3)]
    assert [first.status_code, again.status_code, third.status_code] == [200, 200, 401]
    assert (await refresh(auth, again.json())).status_code == 200
    assert (await refresh(auth, first.json())).status_code == 200


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


async def test_of_20_uses_at_once_one_wins_and_one_repeats(auth: httpx.AsyncClient) -> None:
    pair = await tokens(auth)
    answers = await asyncio.gather(*(insist(partial(refresh, auth, pair)) for _ in range(20)))
    assert Counter(answer.status_code for answer in answers) == {200: 2, 401: 18}
    assert (await refresh(auth, next(a for a in answers if a.status_code == 200).json())).status_code == 200


async def test_an_expired_session_is_over(auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]) -> None:
    pair = await tokens(auth)
    lifetime = auth_db.execute("SELECT expires_at - created_at FROM auth.sessions").fetchone()
    assert lifetime is not None
    assert round(lifetime[0].total_seconds() / 86_400, 3) == 30
    auth_db.execute("UPDATE auth.sessions SET expires_at = now()")
    assert_problem(await refresh(auth, pair), 401)


async def test_a_changed_role_is_in_the_next_token(auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]) -> None:
    pair = await tokens(auth, role="admin")
    auth_db.execute("UPDATE auth.users SET role = 'user'")
    pair = (await refresh(auth, pair)).json()
    answer = await auth.post(
        "/auth/register",
        json={"email": "x@example.com", "password": "long enough", "role": "admin"},
        headers=bearer(pair["access_token"]),
    )
    assert answer.status_code == 201, "there is no admin left, so the first rule holds again"


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
