"""`python -m auth ...` as operators run it."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psycopg
from pydantic import SecretStr

from auth import users
from auth.emails import Email
from auth.registration import ensure_admin
from auth.settings import AuthSettings
from common.web.database import Database
from stack.ports import Ports
from tests.fixtures import checked
from tests.fixtures.auth import PASSWORD, SECRET, SYNC_SECRET, bearer, login, register
from tests.fixtures.waiting import until

CANARY = "canary-pass-5d1f0c"


def environment(settings: AuthSettings, **more: str) -> dict[str, str]:
    values = settings.model_dump(include={"database_url", "redis_url", "secret_key", "sync_client_secret"})
    known = {name.upper(): value.get_secret_value() for name, value in values.items() if isinstance(value, SecretStr)}
    # PYTHONPATH leads to the code under test where that is a copy.
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return kept | known | more


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
    assert done.returncode == 0 and done.stdout.startswith("Gone@example.com is deleted"), done.stderr
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
    assert "the last admin" in refused.stderr and "--force" in refused.stderr
    assert "whoever registers first with the role admin becomes one" in refused.stderr
    assert auth_db.execute("SELECT count(*) FROM auth.users").fetchone() == (1,)
    assert auth(env, "delete-user", "two@example.com", "--force").returncode == 0
    assert auth_db.execute("SELECT count(*) FROM auth.users").fetchone() == (0,)


async def test_an_account_that_becomes_admin_keeps_its_password(
    auth_settings: AuthSettings, auth_db: psycopg.Connection[Any]
) -> None:
    db = Database(auth_settings, application="test")
    async with db.transaction() as session:
        await users.add(session, email=Email("ada@example.com"), password_hash="kept", role="user")
    assert await ensure_admin(db, Email("ada@example.com"), "new") == "is an admin now; the password is unchanged"
    await db.close()
    assert auth_db.execute("SELECT role, password_hash FROM auth.users").fetchall() == [("admin", "kept")]


async def test_no_secret_is_logged(auth_settings: AuthSettings, free_port: int) -> None:
    sent: set[str] = {CANARY, SECRET, SYNC_SECRET, "auth-test-role"}
    log_level = {"LOG_LEVEL": "debug", "PORT": str(free_port), "METRICS_PORT": "0"}
    async with process(environment(auth_settings, **log_level), free_port) as (client, output):
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
    text = "".join(output)
    assert {secret for secret in sent if secret in text} == set()
    lines = [json.loads(line) for line in text.splitlines()]
    assert sum(line["logger"] == "access" for line in lines) > 15, "the canaries did pass through what was searched"


@asynccontextmanager
async def process(env: dict[str, str], port: int) -> AsyncIterator[tuple[httpx.AsyncClient, list[str]]]:
    """`python -m auth serve`, and all that it wrote once it has ended."""
    output: list[str] = []
    pipe = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.STDOUT}
    child = await asyncio.create_subprocess_exec(sys.executable, "-m", "auth", "serve", env=env, **pipe)
    reading = asyncio.create_task(_read(child, output))
    try:
        async with checked.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            async with asyncio.timeout(20):
                while not await _answers(client):
                    assert child.returncode is None, output
                    await asyncio.sleep(0.02)
            yield client, output
    finally:
        if child.returncode is None:
            child.terminate()
        await reading
        assert await child.wait() in (0, -15, 143)


async def _read(child: asyncio.subprocess.Process, output: list[str]) -> None:
    assert child.stdout is not None
    async for line in child.stdout:
        output.append(line.decode())


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/livez")).status_code == 200
    except httpx.TransportError:
        return False


def test_a_process_believes_no_address_that_a_stranger_sends(auth_settings: AuthSettings) -> None:
    """The limit on registrations goes by address: with a new one in each header nobody would meet it."""
    ports = Ports()
    port = ports.pick()
    given = environment(
        auth_settings, PORT=str(port), METRICS_PORT=str(ports.pick()), REGISTRATIONS_PER_MINUTE="3",
        FORWARDED_ALLOW_IPS="192.0.2.1",
    )  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "auth", "serve"], env=given, stderr=subprocess.DEVNULL)

    def ready() -> bool:
        try:
            return checked.get(f"http://127.0.0.1:{port}/health").status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(ready)
        url = f"http://127.0.0.1:{port}/auth/register"
        statuses = [
            checked.post(
                url,
                json={"email": f"user{number}@example.com", "password": "correct horse battery"},
                headers={"X-Forwarded-For": f"198.51.100.{number}"},
                timeout=30,
            ).status_code
            for number in range(6)
        ]
        assert statuses.count(201) == 3 and statuses[-1] == 429, statuses
    finally:
        process.terminate()
        process.wait(30)
