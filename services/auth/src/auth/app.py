"""Composes the auth service."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from auth import routes, sessions
from auth.keyring import KeyRing
from auth.login import Login
from auth.passwords import Passwords
from auth.registration import Registration
from auth.settings import AuthSettings
from auth.state import State
from auth.throttle import LoginThrottle
from common import redis_client
from common.health import Health, postgres_check, redis_check
from common.periodic import repeated
from common.web.app import Service, create_app
from common.web.orm import OrmDatabase
from common.web.tokens import TokenVerifier

__all__ = ["build"]

DELETION_SECONDS = 3600.0


def build(settings: AuthSettings, *, clock: Callable[[], float] = time.time) -> Service:
    """Auth, ready to be served. `clock` is the time by which logins are limited."""
    secret = settings.secret_key.get_secret_value()
    db = OrmDatabase(settings, application="auth")
    redis = redis_client.connect(settings)
    keyring = KeyRing(db, secret)
    critical = {"postgres": postgres_check(db, "auth"), "signing_key": keyring.check}
    optional = {"redis": redis_check(redis)}
    checks = Health("auth", critical=critical, optional=optional, path="/auth/health")
    throttle = LoginThrottle(
        redis,
        pepper=secret,
        registrations_per_minute=settings.registrations_per_minute,
        logins_per_minute=settings.logins_per_minute,
        clock=clock,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        passwords = Passwords()
        await db.open()
        async with repeated("deletion of old sessions", partial(sessions.delete_old, db), DELETION_SECONDS):
            yield {
                "db": db,
                "health": checks,
                "tokens": TokenVerifier(keyring),
                "keyring": keyring,
                "login": Login(settings, db, keyring, passwords, throttle),
                "registration": Registration(settings.admin_registration, passwords, throttle),
            }
        passwords.close()
        await redis.aclose()
        await db.close()

    tags = [{"name": "auth", "description": "Accounts, sessions and tokens."}]
    return create_app("auth", settings, [routes.router], lifespan, checks, openapi_tags=tags)
