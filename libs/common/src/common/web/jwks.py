"""Auth's public keys, for the services that verify tokens."""

import asyncio
import logging
import time
from typing import Any

import httpx
from jose import jwk

from common import loop_clock
from common.deadlines import paused_deadline
from common.diagnostics import NotReady
from common.web.errors import Unavailable
from common.web.tokens import ALGORITHM

__all__ = ["JWKSClient"]

log = logging.getLogger(__name__)


class JWKSClient:
    """A `KeyProvider` that caches the keys.

    They are fetched again after FRESH_SECONDS and for an unknown kid, but at most once in THROTTLE_SECONDS. While auth
    is unavailable the last keys stay in use, until they are older than STALE_SECONDS.
    """

    FRESH_SECONDS, THROTTLE_SECONDS, STALE_SECONDS = 300.0, 10.0, 86_400.0
    FETCH_SECONDS = 0.7
    # How long a process that has just started is not ready without keys.
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
        if kid not in self._keys or age > self.FRESH_SECONDS:
            await self._refresh(force=kid not in self._keys)
        if not self._keys or time.monotonic() - self._fetched > self.STALE_SECONDS:
            raise Unavailable("The keys that verify tokens cannot be fetched; try again.")
        return self._keys.get(kid)

    async def _refresh(self, *, force: bool) -> None:
        async with self._lock:
            now = time.monotonic()
            if now - self._tried < (self.THROTTLE_SECONDS if self._keys else 0.5) or (
                not force and now - self._fetched < self.FRESH_SECONDS
            ):
                return
            self._tried = now
            try:
                self._keys = await self._fetch()
            except Exception as error:
                log.warning("cannot fetch the signing keys: %s", type(error).__name__)
                return
            self._fetched = now

    async def _fetch(self) -> dict[str, Any]:
        with paused_deadline():
            # A limit of httpx would also count the time in which this process is late.
            async with loop_clock.timeout(self.FETCH_SECONDS):
                response = await self._http.get(self._url, timeout=None)
        keys = response.raise_for_status().json()["keys"]
        return {key["kid"]: jwk.construct(key, ALGORITHM) for key in keys}
