"""The signing keys in memory: who signs now, and who verifies."""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from jose import jwk, jws

from auth import keys
from auth.errors import SigningKeyUnreadable
from auth.models import SigningKey
from common.diagnostics import NotReady
from common.web.database import Database
from common.web.tokens import ALGORITHM, AccessToken

__all__ = ["KeyRing"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Keys:
    published: list[dict[str, Any]] = field(default_factory=list)
    verifying: dict[str, Any] = field(default_factory=dict)
    # None of a key that SECRET_KEY cannot read.
    signing: tuple[str, Any] | None = None


class KeyRing:
    """A `KeyProvider` over the table, read when first needed and again when older than 5 s.

    While the database is away the last good keys serve on.
    """

    FRESH, RETRY, PATIENCE = 5.0, 1.0, 0.3

    def __init__(self, db: Database, secret_key: str) -> None:
        self._db = db
        self._wrapping = keys.Wrapping(secret_key)
        self._keys = _Keys()
        self._due = float("-inf")
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
        return jws.sign(token.claims(), private, {"kid": kid, "typ": "at+jwt"}, ALGORITHM)

    async def _signer(self) -> tuple[str, Any]:
        signing = (await self._current()).signing
        if signing is None:
            raise SigningKeyUnreadable
        return signing

    async def check(self) -> None:
        """For /health: tokens can be signed."""
        if (await self._current()).signing is None:
            raise NotReady(SigningKeyUnreadable.REMEDY)

    async def _current(self) -> _Keys:
        if time.monotonic() < self._due:
            return self._keys
        async with self._lock:
            if time.monotonic() >= self._due:
                await self._reload()
        return self._keys

    async def _reload(self) -> None:
        try:
            # With keys at hand nobody waits long for newer ones: the services give the JWK set 0.7 s.
            async with asyncio.timeout(self.PATIENCE if self._keys.published else None):
                rows = await self._read()
        except Exception as error:
            if not self._keys.published:
                raise
            self._due = time.monotonic() + self.RETRY
            log.warning("cannot read the signing keys, the last known serve on: %s", type(error).__name__)
            return
        self._keys = self._unlock(rows)
        self._due = time.monotonic() + self.FRESH

    async def _read(self) -> list[SigningKey]:
        async with self._db.read_session() as db:
            rows = await keys.list_published(db)
        if any(row.state == "active" for row in rows):
            return rows
        async with self._db.transaction() as writing:
            await keys.add_first(writing, self._wrapping)
            return await keys.list_published(writing)

    def _unlock(self, rows: list[SigningKey]) -> _Keys:
        signing = None
        for row in rows:
            if row.state == "active" and (pem := self._wrapping.unwrap(row.kid, row.private_key)):
                signing = (row.kid, jwk.construct(pem, ALGORITHM))
        if signing is None:
            log.error("%s", SigningKeyUnreadable.REMEDY)
        published = [row.public_jwk for row in rows]
        return _Keys(published, {public["kid"]: jwk.construct(public, ALGORITHM) for public in published}, signing)
