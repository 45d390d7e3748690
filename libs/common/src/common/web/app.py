"""Composes and serves every HTTP service: middleware, errors, health, metrics, drain."""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import FrameType
from typing import Any, cast

import uvicorn
from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from common import __version__, logs, metrics, tracing
from common.health import Health
from common.settings import ServiceSettings
from common.web import health, problems
from common.web.forwarded import ForwardedMiddleware
from common.web.middleware import AccessLogMiddleware, AdmissionMiddleware, DeadlineMiddleware
from common.web.protocol import Protocol
from common.web.state import BaseState

__all__ = ["InternalRoutes", "Service", "create_app", "serve"]

log = logging.getLogger(__name__)
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[BaseState]]


@dataclass(frozen=True)
class Service:
    """One HTTP service: `api` has its public routes, `internal` those for services, `asgi` is all in its layers."""

    name: str
    asgi: ASGIApp
    api: FastAPI
    internal: FastAPI | None
    health: Health


@dataclass(frozen=True)
class InternalRoutes:
    """Routes for other services, all below `prefix`: an application of its own, whose requests may take `seconds`."""

    prefix: str
    routers: Sequence[APIRouter]
    seconds: float


def create_app(
    name: str,
    settings: ServiceSettings,
    routers: Sequence[APIRouter],
    lifespan: Lifespan,
    checks: Health,
    *,
    health_report: Any = health.HealthReport,
    internal: InternalRoutes | None = None,
    middleware: Sequence[Middleware] = (),
    openapi_tags: list[dict[str, str]] | None = None,
) -> Service:
    """Compose a service. `lifespan` yields the state of `common.web.state`; `middleware` is of the public routes.

    `health_report` is the schema of what /health answers, for a service whose checks have facts of their own;
    `openapi_tags` says in the OpenAPI document what its routes are about.
    """
    if settings.faults:
        from common import faults

        faults.install(settings.faults)
    api = _application(name, settings, [*routers, health.router(checks, health_report)], lifespan, middleware)
    api.openapi_tags = openapi_tags
    internal_api = _application(name, settings, internal.routers) if internal else None
    asgi: ASGIApp = DeadlineMiddleware(api)
    if internal and internal_api:
        limited = DeadlineMiddleware(internal_api, seconds=internal.seconds, longest=internal.seconds)
        asgi = _PrefixDispatcher(asgi, internal.prefix, limited)
    asgi = AdmissionMiddleware(asgi)
    # Outside of what refuses requests: browsers hide an answer without these headers from the page.
    asgi = _cors(asgi, settings.backend_cors_origins) if settings.backend_cors_origins else asgi
    asgi = ForwardedMiddleware(AccessLogMiddleware(asgi), settings.trusted_proxy_hops)
    return Service(name, asgi, api, internal_api, checks)


def _application(
    name: str,
    settings: ServiceSettings,
    routers: Sequence[APIRouter],
    lifespan: Lifespan | None = None,
    middleware: Sequence[Middleware] = (),
) -> FastAPI:
    """Routes with errors as problems and, where it is on, tracing and fault injection."""
    if settings.faults:
        from common.web.faults import FaultMiddleware

        middleware = [Middleware(FaultMiddleware), *middleware]
    app = FastAPI(
        title=f"Products API: {name}",
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,
        redirect_slashes=False,
        middleware=middleware,
        telemetry=cast(TelemetryConfig, tracing.fastapi_telemetry()),
    )
    for router in routers:
        # Directly, not by include_router: nested routers cost each request another round of matching.
        app.router.routes.extend(router.routes)
    problems.install(app)
    return app


class _PrefixDispatcher:
    """Sends requests below a prefix to another application. Unlike Starlette's Mount it leaves their paths whole."""

    def __init__(self, app: ASGIApp, prefix: str, other: ASGIApp) -> None:
        self.app = app
        self._prefix = prefix
        self._other = other

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        below = scope["type"] == "http" and scope["path"].startswith(self._prefix)
        await (self._other if below else self.app)(scope, receive, send)


def _cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_credentials=True,
        allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "If-Match", "If-None-Match", "X-Request-ID"],
        expose_headers=["Allow", "ETag", "Location", "Retry-After", "X-Request-ID"],
    )


class _Server(uvicorn.Server):
    """uvicorn closes its listener at once on SIGTERM; this one first says "not ready" for the drain time."""

    def __init__(self, config: uvicorn.Config, checks: Health, drain_seconds: float) -> None:
        super().__init__(config)
        self._health = checks
        self._drain_seconds = drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._health.draining or sig == signal.SIGINT or not self._drain_seconds:
            super().handle_exit(sig, frame)
            return
        self._health.draining = True
        # Clients connect elsewhere before their connections are closed; uvicorn rebuilds the second list every second.
        for headers in (self.config.encoded_headers, self.server_state.default_headers):
            headers.append((b"connection", b"close"))
        log.info("draining for %g s", self._drain_seconds)
        asyncio.get_running_loop().call_later(self._drain_seconds, super().handle_exit, sig, frame)


def serve(name: str, settings: ServiceSettings, build: Callable[[], Service]) -> None:
    """Run a service until SIGTERM or SIGINT: not ready, wait, stop accepting, finish work, flush spans, close."""
    logs.setup(settings, name)
    tracing.setup(settings, name)
    metrics.set_build_info(name)
    service = build()
    stop_metrics = metrics.serve(settings.host, settings.metrics_port)
    config = uvicorn.Config(
        service.asgi,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=Protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        # ForwardedMiddleware does it: uvicorn skips every trusted address, also one that a client sent.
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=30,
    )
    # uvicorn raises the signal again when it has stopped, which by default ends the process before the flush.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        _Server(config, service.health, settings.drain_seconds).run()
    except KeyboardInterrupt:
        log.info("interrupted")
    finally:
        logs.flush()
        tracing.flush()
        stop_metrics()
