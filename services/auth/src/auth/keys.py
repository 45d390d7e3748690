"""Signing keys: their rows, and how SECRET_KEY encrypts their private halves."""

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
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth.models import KeyState, SigningKey
from common.json_encoding import dumps
from common.web.tokens import ALGORITHM

__all__ = ["KeyWrapper", "add_first", "generate", "list_published"]

NONCE_BYTES = 12


class KeyWrapper:
    """AES-256-GCM with a key derived from SECRET_KEY. The kid is authenticated, so rows cannot be swapped."""

    def __init__(self, secret: str) -> None:
        derive = HKDF(hashes.SHA256(), length=32, salt=None, info=b"products-api auth signing keys v1")
        self._cipher = AESGCM(derive.derive(secret.encode()))

    def wrap(self, kid: str, plain: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, kid.encode())

    def unwrap(self, kid: str, wrapped: bytes) -> bytes | None:
        """None when it was wrapped with another SECRET_KEY."""
        try:
            return self._cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], kid.encode())
        except InvalidTag:
            return None


def generate(wrapper: KeyWrapper) -> dict[str, Any]:
    """The row of a new, active key pair. Its kid is the thumbprint of RFC 7638."""
    private = ec.generate_private_key(ec.SECP256R1())
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    pem = private.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    public: dict[str, Any] = jwk.construct(pem, ALGORITHM).public_key().to_dict()
    thumbprint = hashlib.sha256(dumps({name: public[name] for name in ("crv", "kty", "x", "y")})).digest()
    kid = base64.urlsafe_b64encode(thumbprint).rstrip(b"=").decode()
    published = public | {"kid": kid, "use": "sig"}
    return {"kid": kid, "public_jwk": published, "private_key": wrapper.wrap(kid, pem), "state": KeyState.ACTIVE}


async def add_first(db: AsyncSession, wrapper: KeyWrapper) -> None:
    """Store a new key unless there is an active one. The lock lets one of several processes do it."""
    await db.execute(select(func.pg_advisory_xact_lock(func.hashtext("auth.signing_keys"))))
    if await db.scalar(select(SigningKey.kid).where(SigningKey.state == KeyState.ACTIVE)) is None:
        await db.execute(insert(SigningKey).values(generate(wrapper)))


async def list_published(db: AsyncSession) -> list[SigningKey]:
    """The keys that tokens may be signed with: the active one, and those before and after it."""
    return list(await db.scalars(select(SigningKey).order_by(SigningKey.created_at)))
