"""`python -m auth ...` as operators run it."""

import json
import re
import signal
import subprocess
import sys
import time
from typing import Any

import psycopg

from auth import users
from auth.emails import Email
from auth.registration import ensure_admin
from auth.settings import AuthSettings
from common.web.orm import OrmDatabase
from common.web.tokens import Role
from tests.fixtures import checked
from tests.fixtures.auth import PASSWORD, SECRET, SYNC_SECRET, bearer, login, register
from tests.fixtures.processes import Start, environment_of, inherited, until_healthy

CANARY = "canary-pass-5d1f0c"


def environment(settings: AuthSettings) -> dict[str, str]:
    return inherited() | environment_of(settings)


def auth(env: dict[str, str], *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "auth", *arguments]
    return subprocess.run(command, env=env, input=stdin, capture_output=True, text=True, timeout=120)


def test_help_needs_no_settings() -> None:
    done = auth({}, "--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in ("serve", "migrate", "create-admin"))


def test_production_refuses_every_unsafe_value_at_once() -> None:
    unsafe = {
        "APP_ENV": "production",
        "DATABASE_URL": "postgresql://canary-user@canary-host/products",
        "REDIS_URL": "http://canary-redis",
        "SECRET_KEY": "canary-change-me-0123456789abcdef0123456789",
        "SYNC_CLIENT_SECRET": "canary-short",
        "ADMIN_REGISTRATION": "first",
        "BACKEND_CORS_ORIGINS": "*",
        "PORT": "canary-port",
    }
    began = time.monotonic()
    done = auth(unsafe, "serve")
    assert (done.returncode, done.stdout) == (2, "")
    assert time.monotonic() - began < 20
    assert set(re.findall(r"^settings: ([A-Z_]+): ", done.stderr, re.M)) == unsafe.keys() - {"APP_ENV"}
    assert "canary" not in done.stderr


async def test_create_admin_is_idempotent(auth_settings: AuthSettings, auth_db: psycopg.Connection[Any]) -> None:
    env = environment(auth_settings)
    made = auth(env, "create-admin", "Root@example.com", stdin=f"{PASSWORD}\n")
    assert (made.returncode, made.stdout) == (0, "Root@example.com is an admin now\n")
    first = auth_db.execute("SELECT role, password_hash FROM auth.users").fetchall()
    assert first[0][0] == "admin"
    again = auth(env | {"AUTH_ADMIN_PASSWORD": "another password"}, "create-admin", "root@example.com")
    assert (again.returncode, again.stdout) == (0, "root@example.com is an admin already; nothing is changed\n")
    assert auth_db.execute("SELECT role, password_hash FROM auth.users").fetchall() == first


async def test_delete_user_takes_the_sessions_too(
    auth_settings: AuthSettings, auth_db: psycopg.Connection[Any]
) -> None:
    env = environment(auth_settings)
    for email in ("gone@example.com", "stays@example.com"):
        assert auth(env, "create-admin", email, stdin=f"{PASSWORD}\n").returncode == 0
        auth_db.execute(
            "INSERT INTO auth.sessions (user_id, expires_at) SELECT id, now() FROM auth.users WHERE email = %s", [email]
        )
    done = auth(env, "delete-user", "Gone@example.com")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Gone@example.com is deleted"), done.stderr
    assert auth_db.execute("SELECT email FROM auth.users").fetchall() == [("stays@example.com",)]
    assert auth_db.execute("SELECT count(*) FROM auth.sessions").fetchall() == [(1,)]
    again = auth(env, "delete-user", "gone@example.com")
    assert (again.returncode, again.stderr) == (1, "delete-user: there is no account gone@example.com\n")
    assert auth(env, "delete-user", "n0body").returncode == 2


async def test_the_last_admin_is_deleted_only_by_force(
    auth_settings: AuthSettings, auth_db: psycopg.Connection[Any]
) -> None:
    env = environment(auth_settings)
    for email in ("one@example.com", "two@example.com"):
        assert auth(env, "create-admin", email, stdin=f"{PASSWORD}\n").returncode == 0
    assert auth(env, "delete-user", "one@example.com").returncode == 0
    refused = auth(env, "delete-user", "two@example.com")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "the last admin" in refused.stderr
    assert "--force" in refused.stderr
    assert "the first to register with the role admin becomes one" in refused.stderr
    assert auth_db.execute("SELECT count(*) FROM auth.users").fetchone() == (1,)
    assert auth(env, "delete-user", "two@example.com", "--force").returncode == 0
    assert auth_db.execute("SELECT count(*) FROM auth.users").fetchone() == (0,)


async def test_an_account_that_becomes_admin_keeps_its_password(
    auth_settings: AuthSettings, auth_db: psycopg.Connection[Any]
) -> None:
    db = OrmDatabase(auth_settings, application="test")
    async with db.write_session() as session:
        await users.add(session, email=Email("ada@example.com"), password_hash="kept", role=Role.USER)
        done = await ensure_admin(session, Email("ada@example.com"), "new")
    assert done == "is an admin now; the password is unchanged"
    await db.close()
    assert auth_db.execute("SELECT role, password_hash FROM auth.users").fetchall() == [("admin", "kept")]


async def test_no_secret_is_logged(auth_settings: AuthSettings, start: Start) -> None:
    sent: set[str] = {CANARY, SECRET, SYNC_SECRET, "auth-test-role"}
    process = until_healthy(start("auth", "serve", environment(auth_settings) | {"LOG_LEVEL": "debug"}))
    async with checked.AsyncClient(base_url=process.url, timeout=10) as client:
        await register(client, "ada@example.com", password=CANARY)
        await register(client, "ada@example.com", password=CANARY, role=CANARY)
        await register(client, "ada@example.com", **{CANARY: CANARY})
        await client.post("/auth/login", content=f'{{"password":"{CANARY}", NaN')
        for _ in range(2):
            pair = (await login(client, "ada@example.com", CANARY)).json()
            sent |= {pair["access_token"], pair["refresh_token"]}
            for token in (pair["access_token"], pair["access_token"] + "x"):
                await client.get("/auth/me", headers=bearer(token))
                await client.get("/auth/me", params={"access_token": token})
            await client.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]})
            await client.post("/auth/refresh", json={"refresh_token": pair["refresh_token"], "x": 1})
        form = {"grant_type": "client_credentials", "client_id": "sync", "client_secret": SYNC_SECRET}
        sent.add((await client.post("/auth/token", data=form)).json()["access_token"])
        await client.post("/auth/token", data=form | {"client_secret": CANARY})
        await login(client, "ada@example.com", CANARY + " but wrong")
    assert process.stop() in (0, -signal.SIGTERM)
    text = process.output()
    assert {secret for secret in sent if secret in text} == set()
    lines = [json.loads(line) for line in text.splitlines()]
    assert sum(line["logger"] == "access" for line in lines) > 15, "the canaries did pass through what was searched"


def test_a_process_believes_no_address_that_a_stranger_sends(auth_settings: AuthSettings, start: Start) -> None:
    """The limit on registrations goes by address: with a new one in each header nobody would meet it."""
    limits = {"REGISTRATIONS_PER_MINUTE": "3", "TRUSTED_PROXY_HOPS": "0"}
    process = until_healthy(start("auth", "serve", environment(auth_settings) | limits))
    statuses = [
        checked.post(
            f"{process.url}/auth/register",
            json={"email": f"user{number}@example.com", "password": "correct horse battery"},
            headers={"X-Forwarded-For": f"198.51.100.{number}"},
            timeout=30,
        ).status_code
        for number in range(6)
    ]
    assert statuses.count(201) == 3, statuses
    assert statuses[-1] == 429, statuses
