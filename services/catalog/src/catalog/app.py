"""Composes the catalog service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx
from fastapi import FastAPI
from starlette.middleware import Middleware

from catalog import docs, import_routes, products, routes, rows
from catalog.plain_reads import PlainReads
from catalog.reads import ProductReads
from catalog.settings import CatalogSettings
from catalog.state import State
from common import redis_client
from common.health import Health, postgres_check, redis_check
from common.periodic import repeated
from common.web.app import InternalRoutes, Service, create_app
from common.web.database import Database
from common.web.jwks import JWKSClient
from common.web.tokens import TokenVerifier

__all__ = ["build"]

PURGE_SECONDS = 3600.0


def build(settings: CatalogSettings) -> Service:
    """The catalog, ready to be served."""
    db = Database(settings, application="catalog", loaders=rows.JSON_LOADERS)
    reads = ProductReads(db, lanes=settings.read_groups)
    redis = redis_client.connect(settings)
    # To load the certificates of all authorities takes 25 ms; without TLS there is nothing to verify.
    http = httpx.AsyncClient(verify=settings.auth_url.startswith("https:"), trust_env=False)
    keys = JWKSClient(settings.auth_url, http)
    critical = {"postgres": postgres_check(db, "catalog"), "keys": keys.check}
    checks = Health("catalog", critical=critical, optional={"redis": redis_check(redis)})

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with http:
            await db.open()
            prefetch = asyncio.create_task(keys.prefetch())
            async with repeated("purge of deleted products", partial(products.purge, db), PURGE_SECONDS):
                yield {"db": db, "tokens": TokenVerifier(keys), "health": checks, "reads": reads}
            prefetch.cancel()
            await reads.close()
            await redis.aclose()
            await db.close()

    # Nobody waits for a page's answer; a merge of 100 000 products takes most of a minute.
    internal = InternalRoutes("/internal/", [import_routes.router], seconds=60.0)
    return create_app(
        "catalog",
        settings,
        [routes.router, docs.router],
        lifespan,
        checks,
        internal=internal,
        middleware=[Middleware(PlainReads, reads)],
        openapi_tags=[{"name": "products", "description": "The catalog. Reading needs no token."}],
    )
