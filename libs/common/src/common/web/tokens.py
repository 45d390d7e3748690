"""Access tokens: the one place that encodes, decodes and verifies them (RFC 8725, RFC 9068)."""

import base64
import binascii
import hashlib
import json
import time
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from jose import jws
from jose.backends import ECKey

from common.web.errors import Unauthenticated

__all__ = ["ALGORITHM", "AccessToken", "Client", "KeyProvider", "Role", "Scope", "TokenVerifier"]

ALGORITHM = "ES256"
AUDIENCE = "products-api"
ISSUER = "products-api/auth"
TYPE = "at+jwt"
LEEWAY_SECONDS = 30
MAX_TOKEN_BYTES = 4096
# So many valid tokens are remembered, about 5 MB: to check a signature takes 0.1 ms.
MAX_REMEMBERED = 4096


class Role(StrEnum):
    """The role of an account, USER or ADMIN. Services have SERVICE, and scopes that say what they may do."""

    USER = "user"
    ADMIN = "admin"
    SERVICE = "service"


class Scope(StrEnum):
    """What a token of a service allows."""

    CATALOG_IMPORT = "catalog:import"


class Client(StrEnum):
    """The client ids of the services that have client credentials."""

    SYNC = "sync"


class KeyProvider(Protocol):
    """Where a `TokenVerifier` finds public keys: the published JWK set, or auth's own table."""

    async def key(self, kid: str) -> Any | None:
        """The public key named `kid` as a jose key, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """The claims of a token. `subject` is the UUID of a user or the client id of a service; times are Unix seconds.

    `role` may be one that this release does not know, from an auth that is newer.
    """

    subject: str
    role: str
    scopes: frozenset[str] = frozenset()
    session_id: str | None = None
    expires_at: int
    issued_at: int = field(default_factory=lambda: int(time.time()))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def is_admin(self) -> bool:
        return self.role == Role.ADMIN

    def encode(self, key: Any, kid: str) -> str:
        """The token signed with the private `key`, whose public half is published as `kid`."""
        return jws.sign(self._claims(), key, {"kid": kid, "typ": TYPE}, ALGORITHM)

    def _claims(self) -> dict[str, Any]:
        claims: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "sub": self.subject, "role": self.role}
        claims |= {"jti": self.id, "iat": self.issued_at, "exp": self.expires_at}
        claims |= {"sid": self.session_id} if self.session_id else {}
        return claims | ({"scope": " ".join(sorted(self.scopes))} if self.scopes else {})

    @classmethod
    def decode(cls, claims: Any) -> "AccessToken":
        """The token with these claims, whose signature is verified; raises Unauthenticated unless it is valid now."""
        if not isinstance(claims, dict):
            raise _invalid("The claims of the token are not a JSON object.")
        times = [claims.get("exp"), claims.get("iat"), claims.get("nbf", 0)]
        if any(type(value) is not int for value in times):
            raise _invalid("A time in the token is not a whole number.")
        if claims.get("iss") != ISSUER or claims.get("aud") != AUDIENCE:
            raise _invalid("The token is from another issuer or for another audience.")
        if any(not isinstance(claims.get(name), str) or not claims[name] for name in ("sub", "jti", "role")):
            raise _invalid("The token lacks a claim: sub, jti and role are required.")
        _check_times(*times)
        scope, session_id = claims.get("scope"), claims.get("sid")
        return cls(
            subject=claims["sub"],
            role=claims["role"],
            scopes=frozenset(scope.split() if isinstance(scope, str) else ()),
            session_id=session_id if isinstance(session_id, str) else None,
            expires_at=claims["exp"],
            issued_at=claims["iat"],
            id=claims["jti"],
        )


def _check_times(expires: int, issued: int, not_before: int) -> None:
    now = time.time()
    if now > expires + LEEWAY_SECONDS:
        raise _invalid("The token has expired.")
    if max(issued, not_before) > now + LEEWAY_SECONDS:
        raise _invalid("The token is not valid yet.")


@dataclass(frozen=True, slots=True)
class _Verified:
    kid: str
    key: Any
    token: AccessToken
    not_before: int


class TokenVerifier:
    """Decodes tokens, and checks their signatures and claims.

    Tokens that were valid are remembered by their hash, so that a signature is not checked again for each request. A
    remembered token counts only as long as the key that it was checked with is the one that `keys` has for it, and its
    times are checked each time.

    python-jose only checks the signature. It ignores `kid`, accepts tokens without claims, and raises errors of several
    kinds, so header and claims are checked here.
    """

    def __init__(self, keys: KeyProvider) -> None:
        self._keys = keys
        self._verified: dict[bytes, _Verified] = {}

    async def verify(self, token: str) -> AccessToken:
        """Raises Unauthenticated if the token is not valid now, and what `keys` raises."""
        if len(token) > MAX_TOKEN_BYTES:
            raise _invalid("The token is too long.")
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._verified.get(digest)
        kid = _kid(token) if known is None else known.kid
        key = await self._keys.key(kid)
        if known is None or key is not known.key:
            self._verified.pop(digest, None)
            known = _verify_signature(token, kid, key)
            self._remember(digest, known)
        else:
            _check_times(known.token.expires_at, known.token.issued_at, known.not_before)
        return known.token

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        while len(self._verified) >= MAX_REMEMBERED:
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = verified


def _kid(token: str) -> str:
    header = _json_part(token.partition(".")[0])
    if header.keys() - {"alg", "typ", "kid"} or header.get("alg") != ALGORITHM or header.get("typ") != TYPE:
        raise _invalid("The token is not an access token of this API.")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise _invalid("The token is signed with an unknown key.")
    return kid


def _verify_signature(token: str, kid: str, key: Any) -> _Verified:
    if not isinstance(key, ECKey):
        raise _invalid("The token is signed with an unknown key.")
    try:
        claims = json.loads(jws.verify(token, key, [ALGORITHM]))
    except Exception:
        raise _invalid("The signature of the token is not valid.") from None
    return _Verified(kid, key, AccessToken.decode(claims), claims.get("nbf", 0))


def _json_part(part: str) -> dict[str, Any]:
    try:
        value = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _invalid("The token is malformed.")
    return value


def _invalid(detail: str) -> Unauthenticated:
    return Unauthenticated(detail, code="invalid_token")
