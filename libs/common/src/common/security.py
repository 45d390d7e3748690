"""Who calls: the one place where tokens are verified (RFC 8725, RFC 9068), and the permissions of routes."""

import asyncio
import base64
import binascii
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import httpx
from fastapi import Depends, Request
from fastapi.security import OAuth2PasswordBearer
from jose import jwk, jws
from jose.backends import ECKey

from common import context
from common.causes import NotReady
from common.errors import Forbidden, Unauthenticated, Unavailable

__all__ = [
    "ALGORITHM",
    "AUDIENCE",
    "ISSUER",
    "Jwks",
    "KeySource",
    "Permission",
    "Principal",
    "authenticate",
    "authenticated",
    "requires",
    "verify",
]

log = logging.getLogger(__name__)

ALGORITHM = "ES256"
AUDIENCE = "products-api"
ISSUER = "products-api/auth"
LEEWAY_SECONDS = 30
MAX_TOKEN_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Principal:
    """The verified caller: `id` is a user's UUID or a service's client id."""

    id: str
    role: str
    scopes: frozenset[str]


class KeySource(Protocol):
    async def key(self, kid: str) -> Any | None:
        """The public key named `kid` as a jose key; None when there is no such key."""


class Jwks:
    """Auth's public keys, cached: fetched anew every 5 minutes and on an unknown kid, but at most once in 10 s.

    While auth is away the last good keys are used for 24 h.
    """

    FRESH, THROTTLE, STALE = 300.0, 10.0, 86_400.0
    # How long a process that has just started is not ready without keys; then it serves what needs none.
    PATIENCE = 5.0

    def __init__(self, auth_url: str, http: httpx.AsyncClient) -> None:
        self._url = f"{auth_url.rstrip('/')}/.well-known/jwks.json"
        self._http = http
        self._keys: dict[str, Any] = {}
        self._fetched = self._tried = float("-inf")
        self._lock = asyncio.Lock()
        self._started = time.monotonic()

    async def prefetch(self) -> None:
        """Fetch the keys before the first request needs them; auth may still be starting."""
        while not self._keys and time.monotonic() - self._started < self.PATIENCE:
            await self._refresh(force=True)
            await asyncio.sleep(0.1)

    async def check(self) -> None:
        """For /health: a replica that is new must not fail what an older one would not."""
        if not self._keys and time.monotonic() - self._started < self.PATIENCE:
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
                with context.extended():
                    answer = (await self._http.get(self._url, timeout=0.7)).raise_for_status().json()
                keys = {item["kid"]: jwk.construct(item, ALGORITHM) for item in answer["keys"]}
            except Exception as error:
                log.warning("cannot fetch the signing keys: %s", type(error).__name__)
                return
            self._keys, self._fetched = keys, now


async def verify(token: str, keys: KeySource) -> Principal:
    """The caller that `token` proves; raises Unauthenticated for every token that is not wholly right.

    python-jose is used for the signature alone. It ignores `kid`, lets claims be absent, and lets errors of
    its own escape, so header and claims are checked here, and nothing but Unauthenticated leaves.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise _invalid("The token is too long.")
    header = _json_part(token.partition(".")[0])
    if header.keys() - {"alg", "typ", "kid"} or header.get("alg") != ALGORITHM or header.get("typ") != "at+jwt":
        raise _invalid("The token is not an access token of this service.")
    kid = header.get("kid")
    key = await keys.key(kid) if isinstance(kid, str) else None
    if not isinstance(key, ECKey):
        raise _invalid("The token is signed by an unknown key.")
    try:
        claims = json.loads(jws.verify(token, key, [ALGORITHM]))
    except Exception:
        raise _invalid("The token's signature is wrong.") from None
    return _principal(claims)


def _principal(claims: Any) -> Principal:
    if not isinstance(claims, dict):
        raise _invalid("The token holds no claims.")
    now = time.time()
    times = [claims.get("exp"), claims.get("iat"), claims.get("nbf", 0)]
    if any(type(value) is not int for value in times):
        raise _invalid("The token's times are not whole numbers.")
    expires, issued, not_before = times
    if claims.get("iss") != ISSUER or claims.get("aud") != AUDIENCE:
        raise _invalid("The token was issued elsewhere or for another audience.")
    if any(not isinstance(claims.get(name), str) or not claims[name] for name in ("sub", "jti", "role")):
        raise _invalid("The token lacks a claim.")
    if now > expires + LEEWAY_SECONDS:
        raise _invalid("The token has expired.")
    if max(issued, not_before) > now + LEEWAY_SECONDS:
        raise _invalid("The token is not valid yet.")
    scope = claims.get("scope", "")
    return Principal(claims["sub"], claims["role"], frozenset(scope.split()) if isinstance(scope, str) else frozenset())


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


_bearer = OAuth2PasswordBearer(tokenUrl="/auth/token", auto_error=False, description="Log in with email and password.")


def _sent_token(request: Request) -> str:
    values = request.headers.getlist("authorization")
    if not values:
        raise Unauthenticated("This needs an access token: send `Authorization: Bearer ...`.")
    scheme, _, token = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not token.strip().isascii() or not token.strip():
        raise Unauthenticated("Send exactly one `Authorization: Bearer ...` header.", code="invalid_request")
    return token.strip()


async def authenticate(request: Request) -> Principal:
    """The caller of this request; raises Unauthenticated without one valid token."""
    state = request.state
    if not hasattr(state, "principal"):
        state.principal = await verify(_sent_token(request), state.keys)
    found: Principal = state.principal
    return found


class Permission:
    """Who may call a route: a dependency, which routes ask before they read a body."""

    def __init__(self, allowed: Callable[[Principal], bool], what: str) -> None:
        self._allowed = allowed
        self._what = what

    async def __call__(self, request: Request, _: Annotated[str | None, Depends(_bearer)] = None) -> Principal:
        """Raises Unauthenticated or Forbidden."""
        principal = await authenticate(request)
        if not self._allowed(principal):
            raise Forbidden(f"This needs {self._what}.")
        return principal


authenticated: Any = Depends(Permission(lambda _: True, "a token"))
"""Any caller with a valid token."""


def requires(*, role: str | None = None, scope: str | None = None) -> Any:
    """A permission, to be named once as an Annotated type: the caller has `role`, or a service has `scope`."""
    if role is not None:
        return Depends(Permission(lambda principal: principal.role == role, f"the role {role}"))
    return Depends(Permission(lambda principal: scope in principal.scopes, f"the scope {scope}"))
