"""Injected faults of HTTP requests. Imported only when FAULTS is set."""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from common import faults
from common.deadlines import paused_deadline
from common.web.problems import problem

__all__ = ["FaultMiddleware"]


class FaultMiddleware:
    """Delay requests, and answer some with 503 before anything is done; probes pass."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].endswith(("/health", "/livez")):
            if faults.should_fail("latency"):
                with paused_deadline():
                    await asyncio.sleep(faults.latency_seconds())
            if faults.should_fail("error"):
                answer = problem(scope, 503, "Fault injection is on.", headers={"Retry-After": "1"})
                return await answer(scope, receive, send)
        await self.app(scope, receive, send)
