"""Signing keys: their rows, and how SECRET_KEY wraps their private halves."""

import base64
import hashlib
import os
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from jose import jwk
from sqlalchemy import select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession

from auth.models import SigningKey
from common.json_encoding import dumps
from common.web.tokens import ALGORITHM

__all__ = ["Wrapping", "add_first", "list_published", "make"]

NONCE_BYTES = 12


class Wrapping:
    """AES-256-GCM under a key derived from SECRET_KEY; the kid is authenticated, so rows cannot be swapped."""

    def __init__(self, secret: str) -> None:
        derive = HKDF(hashes.SHA256(), length=32, salt=None, info=b"products-api auth signing keys v1")
        self._cipher = AESGCM(derive.derive(secret.encode()))

    def wrap(self, kid: str, plain: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, kid.encode())

    def unwrap(self, kid: str, wrapped: bytes) -> bytes | None:
        """None when this SECRET_KEY did not wrap it."""
        try:
            return self._cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], kid.encode())
        except InvalidTag:
            return None


def make(wrapping: Wrapping) -> SigningKey:
    """A new key pair, active; its kid is the RFC 7638 thumbprint."""
    private = ec.generate_private_key(ec.SECP256R1())
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    pem = private.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    public: dict[str, Any] = jwk.construct(pem, ALGORITHM).public_key().to_dict()
    thumbprint = hashlib.sha256(dumps({name: public[name] for name in ("crv", "kty", "x", "y")})).digest()
    kid = base64.urlsafe_b64encode(thumbprint).rstrip(b"=").decode()
    published = public | {"kid": kid, "use": "sig"}
    return SigningKey(kid=kid, public_jwk=published, private_key=wrapping.wrap(kid, pem), state="active")


async def add_first(db: AsyncSession, wrapping: Wrapping) -> None:
    """Make the active key unless there is one; of many processes at once, one does."""
    await db.execute(text("SELECT pg_advisory_xact_lock(hashtext('auth.signing_keys'))"))
    if await db.scalar(select(SigningKey.kid).where(SigningKey.state == "active")) is None:
        key = make(wrapping)
        columns = ("kid", "public_jwk", "private_key", "state")
        await db.execute(postgresql.insert(SigningKey).values({name: getattr(key, name) for name in columns}))


async def list_published(db: AsyncSession) -> list[SigningKey]:
    """The keys that tokens may be signed with: the active one, and those before and after it."""
    return list(await db.scalars(select(SigningKey).order_by(SigningKey.created_at)))
