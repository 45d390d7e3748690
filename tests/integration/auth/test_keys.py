"""Signing keys: made once, wrapped by SECRET_KEY, served as a JWK set; and a database that is not there yet."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import httpx
import psycopg
from jose import jws
from pydantic import SecretStr

from auth.app import build
from auth.keyring import KeyRing
from auth.settings import AuthSettings
from common.web.orm import OrmDatabase
from common.web.tokens import AccessToken, Role
from tests.fixtures.auth import assert_problem, bearer, login, register, tokens
from tests.fixtures.service import serving

ANOTHER_SECRET = SecretStr("another-0123456789abcdef01234567")


async def test_the_published_set(auth: httpx.AsyncClient) -> None:
    answer = await auth.get("/.well-known/jwks.json")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=60")
    (key,) = answer.json()["keys"]
    assert key.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("EC", "P-256", "ES256", "sig")


async def test_replicas_that_start_together_make_one_key(
    auth_settings: AuthSettings, auth_db: psycopg.Connection[Any]
) -> None:
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(serving(build(auth_settings))) for _ in range(4)]
        sets = await asyncio.gather(*(client.get("/.well-known/jwks.json") for client in replicas))
        assert len({answer.text for answer in sets}) == 1
        pair = await tokens(replicas[0])
        for client in replicas:
            assert (await client.get("/auth/me", headers=bearer(pair["access_token"]))).status_code == 200
    assert auth_db.execute("SELECT count(*), min(state) FROM auth.signing_keys").fetchone() == (1, "active")


async def test_the_private_key_is_only_stored_wrapped(
    auth: httpx.AsyncClient, auth_db: psycopg.Connection[Any]
) -> None:
    await auth.get("/.well-known/jwks.json")
    row = auth_db.execute("SELECT public_jwk, private_key FROM auth.signing_keys").fetchone()
    assert row is not None
    assert "d" not in row[0]
    assert b"PRIVATE KEY" not in row[1]


async def test_another_secret_key_is_told_and_signs_nothing(auth_settings: AuthSettings) -> None:
    async with serving(build(auth_settings)) as client:
        pair = await tokens(client)
    changed = auth_settings.model_copy(update={"secret_key": ANOTHER_SECRET})
    async with serving(build(changed)) as client:
        health = await client.get("/health")
        assert_problem(health, 503)
        check = health.json()["checks"]["signing_key"]
        assert (check["status"], check["critical"]) == ("failed", True)
        assert "set that SECRET_KEY again" in check["detail"]
        refused = await login(client, "ada@example.com")
        assert_problem(refused, 503)
        assert "retry-after" in refused.headers
        assert_problem(await client.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]}), 503)
        assert (await client.get("/auth/me", headers=bearer(pair["access_token"]))).status_code == 200
    async with serving(build(auth_settings)) as client:
        assert (await client.get("/health")).status_code == 200
        answer = await client.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]})
        assert answer.status_code == 200, "the refusal above did not use the token up"


async def test_auth_starts_without_its_schema_and_serves_once_it_is_there(
    auth_settings: AuthSettings, postgres: str
) -> None:
    with psycopg.connect(postgres, autocommit=True) as superuser:
        superuser.execute("ALTER SCHEMA auth RENAME TO auth_away")
        try:
            async with serving(build(auth_settings)) as client:
                health = await client.get("/health")
                assert_problem(health, 503)
                assert "python -m auth migrate" in health.json()["checks"]["postgres"]["detail"]
                for answer in (
                    await register(client, "ada@example.com"),
                    await login(client, "ada@example.com"),
                    await client.get("/.well-known/jwks.json"),
                ):
                    assert_problem(answer, 503)
                    assert answer.headers["retry-after"] == "1"
                superuser.execute("ALTER SCHEMA auth_away RENAME TO auth")
                await tokens(client)
        finally:
            if superuser.execute("SELECT to_regnamespace('auth') IS NULL").fetchone() == (True,):
                superuser.execute("ALTER SCHEMA auth_away RENAME TO auth")


async def test_auth_without_postgres_answers_fast(auth_settings: AuthSettings, free_port: int) -> None:
    away = SecretStr(f"postgresql://auth_svc:x@127.0.0.1:{free_port}/products")
    async with serving(build(auth_settings.model_copy(update={"database_url": away}))) as client:
        assert (await client.get("/livez")).status_code == 200
        for answer in (
            await client.get("/health"),
            await register(client, "ada@example.com"),
            await login(client, "ada@example.com"),
            await client.get("/.well-known/jwks.json"),
        ):
            assert_problem(answer, 503)
            assert answer.elapsed.total_seconds() < 10


async def test_tokens_are_signed_and_verified_while_postgres_is_away(
    auth_settings: AuthSettings, auth_db: psycopg.Connection[Any]
) -> None:
    db = OrmDatabase(auth_settings, application="keys")
    keyring = KeyRing(db, auth_settings.secret_key.get_secret_value())
    token = await keyring.sign(AccessToken(subject="x", role=Role.USER, expires_at=2**31))
    auth_db.execute("ALTER TABLE auth.signing_keys RENAME TO signing_keys_away")
    try:
        for _ in range(3):
            # As if the time had come to read them again.
            keyring._expires = float("-inf")
            assert (await keyring.jwks())["keys"]
            keyring._expires = float("-inf")
            assert jws.verify(
                await keyring.sign(AccessToken(subject="y", role=Role.USER, expires_at=2**31)),
                (await keyring.jwks())["keys"][0],
                "ES256",
            )
    finally:
        auth_db.execute("ALTER TABLE auth.signing_keys_away RENAME TO signing_keys")
    assert jws.verify(token, (await keyring.jwks())["keys"][0], "ES256")
    await db.close()
