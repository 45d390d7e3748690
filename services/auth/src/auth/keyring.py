"""The signing keys in memory: the one that signs, and those that verify."""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from jose import jwk

from auth import keys
from auth.errors import SigningKeyUnreadable
from auth.models import KeyState, SigningKey
from common import loop_clock
from common.diagnostics import NotReady
from common.web.orm import OrmDatabase
from common.web.tokens import ALGORITHM, AccessToken

__all__ = ["KeyRing"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Keys:
    published: list[dict[str, Any]] = field(default_factory=list)
    verifying: dict[str, Any] = field(default_factory=dict)
    # The kid and the private key; None when SECRET_KEY cannot decrypt it.
    signing: tuple[str, Any] | None = None


class KeyRing:
    """A `KeyProvider` that reads the table on first use, and again when its keys are older than FRESH_SECONDS.

    While PostgreSQL is unavailable the last keys stay in use.
    """

    FRESH_SECONDS, RETRY_SECONDS, RELOAD_SECONDS = 5.0, 1.0, 0.3

    def __init__(self, db: OrmDatabase, secret_key: str) -> None:
        self._db = db
        self._wrapper = keys.KeyWrapper(secret_key)
        self._keys = _Keys()
        self._expires = float("-inf")
        self._lock = asyncio.Lock()

    async def key(self, kid: str) -> Any | None:
        """The public key named `kid`."""
        return (await self._current()).verifying.get(kid)

    async def jwks(self) -> dict[str, Any]:
        """The public keys as a JWK set (RFC 7517)."""
        return {"keys": (await self._current()).published}

    async def require_signer(self) -> None:
        """Raises SigningKeyUnreadable when no token can be signed."""
        await self._signer()

    async def sign(self, token: AccessToken) -> str:
        """The signed form of `token` (RFC 9068); raises SigningKeyUnreadable."""
        kid, private = await self._signer()
        return token.encode(private, kid)

    async def _signer(self) -> tuple[str, Any]:
        signing = (await self._current()).signing
        if signing is None:
            raise SigningKeyUnreadable
        return signing

    async def check(self) -> None:
        """For /health: raises NotReady when no token can be signed."""
        if (await self._current()).signing is None:
            raise NotReady(SigningKeyUnreadable.REMEDY)

    async def _current(self) -> _Keys:
        if time.monotonic() < self._expires:
            return self._keys
        async with self._lock:
            if time.monotonic() >= self._expires:
                await self._reload()
        return self._keys

    async def _reload(self) -> None:
        try:
            # Where there are keys nobody waits long for newer ones: the other services wait 0.7 s for the JWK set.
            async with loop_clock.timeout(self.RELOAD_SECONDS if self._keys.published else float("inf")):
                rows = await self._read()
        except Exception as error:
            if not self._keys.published:
                raise
            self._expires = time.monotonic() + self.RETRY_SECONDS
            log.warning("cannot read the signing keys, the last ones stay in use: %s", type(error).__name__)
            return
        self._keys = self._unwrap(rows)
        self._expires = time.monotonic() + self.FRESH_SECONDS

    async def _read(self) -> list[SigningKey]:
        """The rows, with a first one if need be.

        In sessions of its own: what it reads is for all requests, and a new key stays although the request that
        happened to need it fails.
        """
        async with self._db.read_session() as db:
            rows = await keys.list_published(db)
        if any(row.state == KeyState.ACTIVE for row in rows):
            return rows
        async with self._db.write_session() as db:
            await keys.add_first(db, self._wrapper)
            return await keys.list_published(db)

    def _unwrap(self, rows: list[SigningKey]) -> _Keys:
        signing = None
        for row in rows:
            if row.state == KeyState.ACTIVE and (pem := self._wrapper.unwrap(row.kid, row.private_key)):
                signing = (row.kid, jwk.construct(pem, ALGORITHM))
        if signing is None:
            log.error("%s", SigningKeyUnreadable.REMEDY)
        published = [row.public_jwk for row in rows]
        return _Keys(published, {public["kid"]: jwk.construct(public, ALGORITHM) for public in published}, signing)
