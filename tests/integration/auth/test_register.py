"""POST /auth/register: who gets an account, and with which role."""

import asyncio
import uuid
from collections import Counter
from functools import partial
from typing import Any

import httpx
import psycopg
import pytest

from auth.app import build
from auth.emails import Email
from auth.passwords import Passwords
from auth.registration import Registration
from auth.settings import AuthSettings
from auth.throttle import LoginThrottle
from common.redis_client import connect
from common.web.orm import OrmDatabase
from common.web.tokens import Role
from tests.fixtures.auth import PASSWORD, assert_problem, bearer, login, register, retry_while_unavailable, tokens
from tests.fixtures.service import serving


async def test_a_user_registers(auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]) -> None:
    answer = await register(auth, "Ada@Example.com")
    assert answer.status_code == 201
    user = answer.json()
    assert user.keys() == {"id", "email", "role", "created_at"}
    assert (user["email"], user["role"]) == ("Ada@Example.com", "user")
    stored = auth_db.execute("SELECT id, password_hash FROM auth.users").fetchall()
    assert stored[0][0] == uuid.UUID(user["id"])
    assert stored[0][1].startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_of_50_first_admins_at_once_one_is_made(
    auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]
) -> None:
    answers = await asyncio.gather(
        *(
            retry_while_unavailable(partial(register, auth, f"{number}@example.com", role="admin"))
            for number in range(50)
        )
    )
    assert Counter(answer.status_code for answer in answers) == {201: 1, 403: 49}
    assert auth_db.execute("SELECT role FROM auth.users").fetchall() == [("admin",)]


async def test_a_second_admin_waits_until_the_first_is_decided(
    auth: httpx.AsyncClient, auth_settings: AuthSettings, auth_db: psycopg.Connection[Any]
) -> None:
    """The first one's transaction stays open: nobody else may find that there is no admin meanwhile."""
    db = OrmDatabase(auth_settings, application="first")
    throttle = LoginThrottle(connect(auth_settings), pepper="x", registrations_per_minute=1000, logins_per_minute=1000)
    first = Registration("first", Passwords(), throttle)
    async with db.write_session() as session:
        await first.add(session, Email("first@example.com"), "hash", Role.ADMIN, None)
        second = asyncio.create_task(register(auth, "second@example.com", role="admin"))
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND application_name = 'auth'"
        async with asyncio.timeout(60):
            while auth_db.execute(waiting).fetchone() == (0,):
                assert not second.done(), second.result().text
                await asyncio.sleep(0.01)
    assert (await second).status_code in (403, 503)
    await db.close()
    assert auth_db.execute("SELECT email FROM auth.users").fetchall() == [("first@example.com",)]


async def test_of_50_registrations_of_one_email_at_once_one_is_made(
    auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]
) -> None:
    spellings = ("ada@example.com", "ADA@example.com", "Ada@EXAMPLE.com")
    answers = await asyncio.gather(
        *(retry_while_unavailable(partial(register, auth, spellings[number % 3])) for number in range(50))
    )
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 49}
    assert_problem(next(answer for answer in answers if answer.status_code == 409), 409)
    assert auth_db.execute("SELECT email FROM auth.users").fetchall() == [("ada@example.com",)]


async def test_two_people_whose_emails_look_alike_are_two(auth: httpx.AsyncClient) -> None:
    for email in ("strasse@example.com", "stra\u00dfe@example.com"):
        answer = await register(auth, email)
        assert (answer.status_code, answer.json()["email"]) == (201, email)
    for email in ("STRASSE@example.com", "Stra\u00dfe@Example.com"):
        assert_problem(await register(auth, email), 409)


async def test_a_host_is_one_in_either_form(auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]) -> None:
    assert (await register(auth, "Ada@B\u00fccher.example")).status_code == 201
    assert_problem(await register(auth, "ada@xn--bcher-kva.example"), 409)
    assert (await login(auth, "ada@XN--BCHER-KVA.example")).status_code == 200
    stored = auth_db.execute("SELECT email, email_typed FROM auth.users").fetchall()
    assert stored == [("ada@xn--bcher-kva.example", "Ada@B\u00fccher.example")]


async def test_an_account_of_the_last_release_is_found_as_it_was_typed(
    auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]
) -> None:
    """Release 0.1.0 stored the casefolded email alone."""
    for typed, stored in (("stra\u00dfe@example.com", "strasse@example.com"), ("Ada@Example.com", "ada@example.com")):
        assert (await register(auth, typed)).status_code == 201
        auth_db.execute("UPDATE auth.users SET email = %s, email_typed = NULL WHERE email_typed = %s", [stored, typed])
        assert (await login(auth, typed)).status_code == 200
        assert_problem(await register(auth, typed), 409)


@pytest.mark.parametrize(("policy", "expected"), [("never", [403, 403]), ("first", [201, 403]), ("open", [201, 201])])
async def test_admin_registration(auth_settings: AuthSettings, policy: str, expected: list[int]) -> None:
    settings = auth_settings.model_copy(update={"admin_registration": policy})
    async with serving(build(settings)) as client:
        answers = [await register(client, f"{name}@example.com", role="admin") for name in ("one", "two")]
        assert [answer.status_code for answer in answers] == expected
        for answer in answers:
            assert answer.status_code == 201 or "role" not in answer.json()


async def test_only_a_real_admins_token_makes_admins(auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]) -> None:
    admin = await tokens(auth, "admin@example.com", role="admin")
    user = await tokens(auth, "user@example.com")
    by_admin, by_user = bearer(admin["access_token"]), bearer(user["access_token"])
    assert_problem(await register(auth, "a@example.com", role="admin", headers=by_user), 403)
    assert_problem(await register(auth, "a@example.com", role="admin", headers=bearer("nonsense")), 401)
    made = await register(auth, "a@example.com", role="admin", headers=by_admin)
    assert (made.status_code, made.json()["role"]) == (201, "admin")
    auth_db.execute("UPDATE auth.users SET role = 'user' WHERE email = 'admin@example.com'")
    assert_problem(await register(auth, "b@example.com", role="admin", headers=by_admin), 403)


async def test_nothing_else_can_be_set(auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]) -> None:
    extras: list[dict[str, Any]] = [
        {"id": "00000000-0000-0000-0000-000000000000"},
        {"is_admin": True},
        {"token_version": 0},
        {"created_at": "2020-01-01T00:00:00Z"},
        {"external_id": "1"},
        {"Role": "admin"},
        {"password_hash": "x"},
        {"role": "Admin"},
        {"role": "service"},
        {"role": None},
        {"role": ["admin"]},
    ]
    for extra in extras:
        answer = await register(auth, "ada@example.com", **extra)
        assert_problem(answer, 422)
        assert answer.json()["errors"][0]["pointer"] == f"#/{next(iter(extra))}"
    assert auth_db.execute("SELECT count(*) FROM auth.users").fetchone() == (0,)


async def test_passwords_are_taken_as_they_are(auth: httpx.AsyncClient) -> None:
    outcomes: dict[str, int] = {}
    passwords = {
        "7": "a" * 7,
        "8": "a" * 8,
        "72": "a" * 72,
        "73": "a" * 73,
        "128": "a" * 128,
        "129": "a" * 129,
        "emoji": "🔑" * 8,
        "128 emoji": "🔑" * 128,
        "spaces": "        ",
        "edge spaces": " secret words ",
        "empty": "",
    }
    for name, password in passwords.items():
        outcomes[name] = (await register(auth, f"{len(outcomes)}@example.com", password=password)).status_code
        if outcomes[name] == 201:
            assert (await login(auth, f"{len(outcomes) - 1}@example.com", password)).status_code == 200, name
    assert [name for name, status in outcomes.items() if status != 201] == ["7", "129", "empty"]
    assert {outcomes[name] for name in ("7", "129", "empty")} == {422}


async def test_no_password_is_truncated_or_trimmed(auth: httpx.AsyncClient) -> None:
    kept = {"long@example.com": "a" * 72 + "b", "spaced@example.com": "inner words "}
    for email, password in kept.items():
        await register(auth, email, password=password)
        assert (await login(auth, email, password[:-1])).status_code == 401
    assert (await login(auth, "long@example.com", "a" * 73)).status_code == 401


async def test_composed_and_decomposed_text_is_the_same(auth: httpx.AsyncClient) -> None:
    composed, decomposed = "caf\u00e9 au lait", "cafe\u0301 au lait"
    assert (await register(auth, "re\u0301ne\u0301@example.com", password=decomposed)).status_code == 201
    assert (await login(auth, "R\u00c9N\u00c9@example.com", composed)).status_code == 200
    assert (await register(auth, "r\u00e9n\u00e9@example.com")).status_code == 409


async def test_bad_json_is_the_clients_fault(auth: httpx.AsyncClient) -> None:
    bodies = {
        b'{"email":"a@example.com","password":"null \\u0000 byte"}': 400,
        b'{"email":"a@example.com","password":"half \\ud800 pair"}': 400,
        b'{"email":"a@example.com","password":"once upon","password":"a time"}': 400,
        b'{"email":"a@example.com","password":NaN}': 400,
        b"{": 400,
        b"[]": 422,
        b"null": 422,
    }
    for body, status in bodies.items():
        answer = await auth.post("/auth/register", content=body, headers={"content-type": "application/json"})
        assert_problem(answer, status)


async def test_refusals_do_not_repeat_the_password(auth: httpx.AsyncClient) -> None:
    answer = await register(auth, "ada@example.com", password="short!!", role="admiral")
    assert_problem(answer, 422)
    assert "short!!" not in answer.text
    assert PASSWORD not in (await register(auth, "not an email")).text


async def test_registrations_from_one_address_are_limited(auth_settings: AuthSettings) -> None:
    async with serving(build(auth_settings.model_copy(update={"registrations_per_minute": 3}))) as client:
        for number in range(3):
            assert (await register(client, f"{number}@example.com")).status_code == 201
        refused = await register(client, "more@example.com")
        assert_problem(refused, 429)
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        elsewhere = {"X-Forwarded-For": "198.51.100.7"}
        assert (await register(client, "more@example.com", headers=elsewhere)).status_code == 201
