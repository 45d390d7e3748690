"""Composes the sync API."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from common import redis_client
from common.health import Health, postgres_check, redis_check
from common.postgres import Postgres
from common.web.app import Service, create_app
from common.web.jwks import JWKSClient
from common.web.tokens import TokenVerifier
from sync import decision_routes, history, routes, run_routes, runs, source_routes
from sync.catalog import CatalogClient
from sync.events import Streams
from sync.schemas import SyncHealthReport
from sync.settings import SyncSettings
from sync.state import State
from sync.trials import Trials

__all__ = ["build"]

ROUTERS = [routes.router, run_routes.router, decision_routes.router, source_routes.router]


def build(settings: SyncSettings) -> Service:
    """The sync API, ready to be served."""
    db = Postgres(settings, application="sync-api")
    redis = redis_client.connect(settings)
    # To load the certificates of all authorities takes 25 ms; without TLS there is nothing to verify.
    secure = any(url.startswith("https:") for url in (settings.auth_url, settings.catalog_url))
    http = httpx.AsyncClient(verify=secure, trust_env=False)
    keys = JWKSClient(settings.auth_url, http)
    critical = {"postgres": postgres_check(db, "sync"), "keys": keys.check}

    async def facts() -> dict[str, Any]:
        due = await runs.list_due(db, settings.source)
        return {"last_success_at": await history.last_success(db), "retry_at": due[0].retry_at if due else None}

    optional = {"redis": redis_check(redis)}
    checks = Health("sync", critical=critical, optional=optional, path="/sync/health", facts=facts)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with http:
            await db.open()
            prefetch = asyncio.create_task(keys.prefetch())
            # Clients wait for its answers, so nothing is tried again.
            yield State(
                db=db, redis=redis, catalog=CatalogClient(settings, http, retry_seconds=0), streams=Streams(),
                trials=Trials(), tokens=TokenVerifier(keys), health=checks, settings=settings,
            )  # fmt: skip
            prefetch.cancel()
            await redis.aclose()
            await db.close()

    return create_app(
        "sync",
        settings,
        ROUTERS,
        lifespan,
        checks,
        health_report=SyncHealthReport,
        openapi_tags=[{"name": "sync", "description": "Runs that pull products from external APIs."}],
    )
