"""Access tokens: the one place that encodes, decodes and verifies them (RFC 8725, RFC 9068)."""

import base64
import binascii
import json
import time
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from jose import jws
from jose.backends import ECKey

from common.web.errors import Unauthenticated

__all__ = ["ALGORITHM", "AccessToken", "Client", "KeyProvider", "Role", "Scope", "verify"]

ALGORITHM = "ES256"
AUDIENCE = "products-api"
ISSUER = "products-api/auth"
TYPE = "at+jwt"
LEEWAY_SECONDS = 30
MAX_TOKEN_BYTES = 4096


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
    """Where `verify` finds public keys: the published JWK set, or auth's own table."""

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


async def verify(token: str, keys: KeyProvider) -> AccessToken:
    """Decode a token and check its signature and claims; raises Unauthenticated, and nothing else, if it is not valid.

    python-jose only checks the signature. It ignores `kid`, accepts tokens without claims, and raises errors of several
    kinds, so header and claims are checked here.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise _invalid("The token is too long.")
    header = _json_part(token.partition(".")[0])
    if header.keys() - {"alg", "typ", "kid"} or header.get("alg") != ALGORITHM or header.get("typ") != TYPE:
        raise _invalid("The token is not an access token of this API.")
    kid = header.get("kid")
    key = await keys.key(kid) if isinstance(kid, str) else None
    if not isinstance(key, ECKey):
        raise _invalid("The token is signed with an unknown key.")
    try:
        claims = json.loads(jws.verify(token, key, [ALGORITHM]))
    except Exception:
        raise _invalid("The signature of the token is not valid.") from None
    return AccessToken.decode(claims)


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
