"""POST /auth/login and GET /auth/me: guessing is slow, alike for known and unknown accounts."""

import asyncio
import socket
import time
from collections import Counter
from functools import partial
from typing import Any

import httpx
import psycopg
from prometheus_client import REGISTRY
from pydantic import SecretStr

from auth.app import build
from auth.settings import AuthSettings
from tests.fixtures.auth import (
    SYNC_SECRET,
    Clock,
    assert_problem,
    bearer,
    login,
    register,
    retry_while_unavailable,
    tokens,
)
from tests.fixtures.service import serving

WRONG = "a wrong password"


async def test_logging_in_gives_a_token_for_me(auth: httpx.AsyncClient) -> None:
    await register(auth, "ada@example.com")
    answer = await login(auth, "ADA@example.com")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    pair = answer.json()
    assert pair.keys() == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert (pair["token_type"], pair["expires_in"]) == ("bearer", 900)
    me = await auth.get("/auth/me", headers=bearer(pair["access_token"]))
    assert (me.status_code, me.json()["email"], me.json()["role"]) == (200, "ada@example.com", "user")


async def test_unknown_and_wrong_look_the_same(auth: httpx.AsyncClient) -> None:
    await register(auth, "ada@example.com")
    wrong, unknown = await login(auth, "ada@example.com", WRONG), await login(auth, "bob@example.com", WRONG)
    for answer in (wrong, unknown):
        assert_problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert _without_id(wrong) == _without_id(unknown)
    for attempt in range(4):
        assert_problem(await login(auth, "ada@example.com", f"{WRONG} {attempt}"), 401)
        assert_problem(await login(auth, "bob@example.com", f"{WRONG} {attempt}"), 401)
    waits = await login(auth, "ada@example.com"), await login(auth, "bob@example.com")
    assert {answer.status_code for answer in waits} == {429}
    assert _without_id(waits[0]) == _without_id(waits[1])


async def test_an_unknown_user_costs_what_a_known_one_does(auth: httpx.AsyncClient) -> None:
    """In CPU time of this process, in whose threads the passwords are hashed: who measures it learns nothing."""
    await register(auth, "ada@example.com")

    async def cost(email: str) -> float:
        began = time.process_time()
        assert (await login(auth, email, WRONG)).status_code == 401
        return time.process_time() - began

    known = min([await cost("ada@example.com") for _ in range(3)])
    unknown = min([await cost("bob@example.com") for _ in range(3)])
    assert 0.5 < unknown / known < 2


async def test_after_5_failures_the_account_waits_longer_and_longer(auth: httpx.AsyncClient, clock: Clock) -> None:
    await register(auth, "ada@example.com")
    await _fail(auth, 5)
    for wait in (60, 120, 240, 480, 900, 900):
        refused = await login(auth, "ada@example.com")
        assert_problem(refused, 429)
        assert refused.headers["retry-after"] == str(wait)
        clock.now += wait - 0.5
        assert (await login(auth, "ada@example.com")).status_code == 429
        clock.now += 1
        await _fail(auth, 1)
    clock.now += 901
    assert (await login(auth, "ada@example.com")).status_code == 200


async def test_a_success_forgives(auth: httpx.AsyncClient) -> None:
    await register(auth, "ada@example.com")
    for _ in range(2):
        await _fail(auth, 4)
        assert (await login(auth, "ada@example.com")).status_code == 200


async def test_failures_are_forgotten_in_time(auth: httpx.AsyncClient, clock: Clock) -> None:
    await register(auth, "ada@example.com")
    await _fail(auth, 4)
    clock.now += 901
    await _fail(auth, 4)
    assert (await login(auth, "ada@example.com")).status_code == 200


async def test_guesses_sent_at_once_get_no_more_answers(auth: httpx.AsyncClient) -> None:
    await register(auth, "ada@example.com")
    answers = await asyncio.gather(
        *(retry_while_unavailable(partial(login, auth, "ada@example.com", f"{WRONG} {n}")) for n in range(20))
    )
    assert Counter(answer.status_code for answer in answers) == {401: 5, 429: 15}


async def test_right_logins_sent_at_once_all_pass(auth: httpx.AsyncClient) -> None:
    await register(auth, "ada@example.com")
    answers = await asyncio.gather(
        *(retry_while_unavailable(partial(login, auth, "ada@example.com")) for _ in range(12))
    )
    assert {answer.status_code for answer in answers} == {200}


async def test_an_attack_does_not_lock_the_owner_out_elsewhere(auth: httpx.AsyncClient) -> None:
    await register(auth, "ada@example.com")
    await _fail(auth, 5)
    elsewhere = {"X-Forwarded-For": "198.51.100.7"}
    assert (await login(auth, "ada@example.com", headers=elsewhere)).status_code == 200
    assert (await login(auth, "ada@example.com")).status_code == 429


async def test_a_guesser_locks_out_those_who_failed_and_nobody_else(auth: httpx.AsyncClient, clock: Clock) -> None:
    """All have one address, as behind a proxy that is not known as one."""
    for name in ("ada", "bob"):
        await register(auth, f"{name}@example.com")
    assert (await login(auth, "bob@example.com", WRONG)).status_code == 401
    answers = [await login(auth, f"{number}@example.com", WRONG) for number in range(19)]
    assert {answer.status_code for answer in answers} == {401}
    assert (await login(auth, "bob@example.com")).status_code == 429
    assert (await login(auth, "0@example.com", WRONG)).status_code == 429
    assert (await login(auth, "ada@example.com")).status_code == 200
    clock.now += 61
    assert (await login(auth, "bob@example.com")).status_code == 200


async def test_attempts_are_counted_by_address_right_or_wrong(auth_settings: AuthSettings, clock: Clock) -> None:
    settings = auth_settings.model_copy(update={"logins_per_minute": 6})
    async with serving(build(settings, clock=clock)) as client:
        await register(client, "ada@example.com")
        answers = [await login(client, f"{number}@example.com", WRONG) for number in range(3)]
        answers += [await login(client, "ada@example.com") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [401] * 3 + [200] * 3
        refused = await login(client, "ada@example.com")
        assert_problem(refused, 429)
        assert refused.headers["retry-after"] == "60"
        elsewhere = {"X-Forwarded-For": "198.51.100.7"}
        assert (await login(client, "ada@example.com", headers=elsewhere)).status_code == 200
        clock.now += 61
        assert (await login(client, "ada@example.com")).status_code == 200


async def test_a_crowd_of_one_account_does_not_keep_another_out(auth: httpx.AsyncClient) -> None:
    """80 connections of one account fill the queue; the next one who comes has the next turn but a few."""
    for name in ("crowd", "ada"):
        await register(auth, f"{name}@example.com")
    done: list[str] = []

    async def one(email: str) -> int:
        status = (await login(auth, email)).status_code
        done.append(email)
        return status

    crowd = [asyncio.create_task(one("crowd@example.com")) for _ in range(80)]
    await asyncio.wait(crowd, return_when=asyncio.FIRST_COMPLETED)
    assert await one("ada@example.com") == 200
    behind = len([task for task in crowd if not task.done()])
    assert set(await asyncio.gather(*crowd)) <= {200, 503}
    assert behind > 20, "she did not wait for the crowd"


async def test_without_a_proxy_no_address_is_believed(auth_settings: AuthSettings, clock: Clock) -> None:
    async with serving(build(auth_settings.model_copy(update={"trusted_proxy_hops": 0}), clock=clock)) as direct:
        statuses = [
            (await login(direct, "a@example.com", WRONG, headers={"X-Forwarded-For": f"198.51.100.{n}"})).status_code
            for n in range(6)
        ]
    assert statuses == [401] * 5 + [429]


async def test_of_several_addresses_the_one_of_the_proxy_counts(auth_settings: AuthSettings, clock: Clock) -> None:
    """A proxy appends what it sees; all before that is what the client wrote."""
    settings = auth_settings.model_copy(update={"trusted_proxy_hops": 1})
    async with serving(build(settings, clock=clock)) as client:
        for sent in ("198.51.100.{}, 10.0.0.9", "10.0.0.{},10.0.0.9", "x, {}, 10.0.0.9:5432"):
            forwarded = [{"X-Forwarded-For": sent.format(n)} for n in range(6)]
            email = f"{len(sent)}@example.com"
            statuses = [(await login(client, email, WRONG, headers=headers)).status_code for headers in forwarded]
            assert statuses == [401] * 5 + [429], sent


async def test_an_ipv6_client_is_its_network(auth: httpx.AsyncClient) -> None:
    statuses = [
        (await login(auth, "a@example.com", WRONG, headers={"X-Forwarded-For": f"2001:db8:1:2::{n}"})).status_code
        for n in range(6)
    ]
    assert statuses == [401] * 5 + [429]


async def test_replicas_count_together(auth_settings: AuthSettings, clock: Clock, auth: httpx.AsyncClient) -> None:
    async with serving(build(auth_settings, clock=clock)) as other:
        for n in range(5):
            assert (await login((auth, other)[n % 2], "a@example.com", WRONG)).status_code == 401
        assert (await login(auth, "a@example.com", WRONG)).status_code == 429
        assert (await login(other, "a@example.com", WRONG)).status_code == 429


async def test_without_redis_the_process_counts_alone(auth_settings: AuthSettings, free_port: int) -> None:
    away = SecretStr(f"redis://127.0.0.1:{free_port}/0")
    alone = _counted("products_auth_limits_fallbacks_total")
    async with serving(build(auth_settings.model_copy(update={"redis_url": away}))) as client:
        assert (await register(client, "ada@example.com")).status_code == 201
        assert (await login(client, "ada@example.com")).status_code == 200
        for _ in range(5):
            assert (await login(client, "ada@example.com", WRONG)).status_code == 401
        assert (await login(client, "ada@example.com")).status_code == 429
        health = (await client.get("/health")).json()
        assert (health["status"], health["checks"]["redis"]["status"]) == ("degraded", "failed")
    assert _counted("products_auth_limits_fallbacks_total") > alone


async def test_logins_go_on_beside_a_frozen_redis(auth_settings: AuthSettings) -> None:
    """It takes connections and never answers; a second is enough to see that, the rest is for a busy machine."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        frozen = SecretStr(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        async with (
            serving(build(auth_settings.model_copy(update={"redis_url": frozen}))) as client,
            asyncio.timeout(20),
        ):
            client.timeout = httpx.Timeout(20)
            assert (await register(client, "ada@example.com")).status_code == 201
            assert (await login(client, "ada@example.com")).status_code == 200
            health = (await client.get("/health")).json()
            assert (health["status"], health["checks"]["redis"]["status"]) == ("degraded", "failed")


async def test_logins_are_counted_by_outcome(auth: httpx.AsyncClient) -> None:
    names = ("passed", "refused", "throttled")
    before = [_counted("products_auth_logins_total", outcome=name) for name in names]
    await register(auth, "ada@example.com")
    await login(auth, "ada@example.com")
    await _fail(auth, 5)
    await login(auth, "ada@example.com")
    after = [_counted("products_auth_logins_total", outcome=name) for name in names]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 5, 1]


async def test_a_deleted_users_token_is_refused(auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]) -> None:
    pair = await tokens(auth)
    auth_db.execute("DELETE FROM auth.users")
    answer = await auth.get("/auth/me", headers=bearer(pair["access_token"]))
    assert_problem(answer, 401)
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_a_service_is_not_a_user(auth: httpx.AsyncClient) -> None:
    form = {"grant_type": "client_credentials", "client_id": "sync", "client_secret": SYNC_SECRET}
    token = (await auth.post("/auth/token", data=form)).json()["access_token"]
    assert_problem(await auth.get("/auth/me", headers=bearer(token)), 403)


async def _fail(client: httpx.AsyncClient, times: int) -> None:
    for _ in range(times):
        assert_problem(await login(client, "ada@example.com", WRONG), 401)


def _counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def _without_id(answer: httpx.Response) -> dict[str, Any]:
    return {name: value for name, value in answer.json().items() if name != "request_id"}


async def test_auth_takes_small_bodies_only(auth: httpx.AsyncClient) -> None:
    answer = await auth.post("/auth/login", json={"email": "a@example.com", "password": "x" * 16384})
    assert_problem(answer, 413)
    answer = await auth.post("/auth/token", data={"username": "a@example.com", "password": "x" * 16384})
    assert_problem(answer, 413)
