"""The public keys of auth, for the services that verify tokens."""

import asyncio
import logging
import time
from typing import Any

import httpx
from jose import jwk

from common.deadlines import paused_deadline
from common.diagnostics import NotReady
from common.web.errors import Unavailable
from common.web.tokens import ALGORITHM

__all__ = ["JWKSClient"]

log = logging.getLogger(__name__)


class JWKSClient:
    """Auth's public keys, cached: fetched anew every 5 minutes and on an unknown kid, but at most once in 10 s.

    While auth is away the last good keys are used for 24 h.
    """

    FRESH, THROTTLE, STALE = 300.0, 10.0, 86_400.0
    # For so long a process that has just started is not ready without keys.
    STARTUP_SECONDS = 5.0

    def __init__(self, auth_url: str, http: httpx.AsyncClient) -> None:
        self._url = f"{auth_url.rstrip('/')}/.well-known/jwks.json"
        self._http = http
        self._keys: dict[str, Any] = {}
        self._fetched = self._tried = float("-inf")
        self._lock = asyncio.Lock()
        self._started = time.monotonic()

    async def prefetch(self) -> None:
        """Fetch the keys before the first request needs them; auth may still be starting."""
        while not self._keys and time.monotonic() - self._started < self.STARTUP_SECONDS:
            await self._refresh(force=True)
            await asyncio.sleep(0.1)

    async def check(self) -> None:
        """For /health: not ready until the first fetch, for at most STARTUP_SECONDS; public reads need no keys."""
        if not self._keys and time.monotonic() - self._started < self.STARTUP_SECONDS:
            raise NotReady("the keys that verify tokens are not fetched yet")

    async def key(self, kid: str) -> Any | None:
        age = time.monotonic() - self._fetched
        if kid not in self._keys or age > self.FRESH:
            await self._refresh(force=kid not in self._keys)
        if not self._keys or time.monotonic() - self._fetched > self.STALE:
            raise Unavailable("The keys that verify tokens cannot be fetched; try again.")
        return self._keys.get(kid)

    async def _refresh(self, *, force: bool) -> None:
        async with self._lock:
            now = time.monotonic()
            if now - self._tried < (self.THROTTLE if self._keys else 0.5) or (
                not force and now - self._fetched < self.FRESH
            ):
                return
            self._tried = now
            try:
                with paused_deadline():
                    answer = (await self._http.get(self._url, timeout=0.7)).raise_for_status().json()
                keys = {item["kid"]: jwk.construct(item, ALGORITHM) for item in answer["keys"]}
            except Exception as error:
                log.warning("cannot fetch the signing keys: %s", type(error).__name__)
                return
            self._keys, self._fetched = keys, now
