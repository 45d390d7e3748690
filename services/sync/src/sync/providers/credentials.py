"""How a source is told who asks: by options that refer to credentials, and never hold them."""

import base64
import re
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote_plus

import msgspec
from msgspec import Meta

from sync.providers.addresses import parse_address, shown
from sync.providers.base import ProviderAnswerInvalid, ProviderConfig, ProviderMisconfigured
from sync.providers.bodies import parse
from sync.providers.connection import Connection
from sync.providers.http import Credentials, fetch
from sync.providers.secrets import LITERAL, Reference, Secret, resolve

__all__ = ["AUTH_KINDS", "CREDENTIAL_OPTIONS", "Auth", "NoAuth", "check_constants", "credentials"]

HeaderName = Annotated[str, Meta(pattern="^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", max_length=100)]
# Renewed this much earlier than it expires.
MARGIN = 30.0
MAX_ANSWER = 64_000
# What our client sets itself, and what would make one request two.
_OURS = {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "accept-encoding", "expect"}
_SECRET = re.compile(r"(authorization|cookie|token|secret|password|passwd|apikey|accesskey|signature|credentials?)$")


class NoAuth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="none"):
    """Everybody may read the source."""


class HeaderAuth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="header"):
    """A header of the source's own, such as X-Api-Key."""

    name: HeaderName
    value: Reference


class BearerAuth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="bearer"):
    """A token that does not change."""

    token: Reference


class BasicAuth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="basic"):
    """A user and a password."""

    username: Reference
    password: Reference


class OAuth2(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="oauth2"):
    """Client credentials (RFC 6749, 4.4): a token that is fetched, and renewed when it expires or is refused."""

    token_url: Annotated[str, Meta(max_length=2_000)]
    client_id: Annotated[str, Meta(min_length=1, max_length=500, pattern="^[ -~]+$")]
    client_secret: Reference
    scope: Annotated[str, Meta(max_length=500)] | None = None


Auth = NoAuth | HeaderAuth | BearerAuth | BasicAuth | OAuth2
AUTH_KINDS = (NoAuth, HeaderAuth, BearerAuth, BasicAuth, OAuth2)
CREDENTIAL_OPTIONS = frozenset(f"auth.{name}" for name in ("value", "token", "username", "password", "client_secret"))


def credentials(auth: Auth, config: ProviderConfig) -> Credentials | None:
    """What sends these credentials, which are read now."""
    match auth:
        case HeaderAuth():
            _check_name(auth.name, "auth.name")
            return _Fixed(auth.name, resolve(auth.value, config, "auth.value"))
        case BearerAuth():
            token = resolve(auth.token, config, "auth.token")
            return _Fixed("Authorization", Secret(f"Bearer {token.reveal()}"))
        case BasicAuth():
            username = resolve(auth.username, config, "auth.username").reveal()
            if ":" in username:
                raise ProviderMisconfigured(
                    "options.auth.username: must not hold a colon, where the password would begin."
                )
            pair = f"{username}:{resolve(auth.password, config, 'auth.password').reveal()}"
            encoded = base64.b64encode(pair.encode()).decode()
            return _Fixed("Authorization", Secret(f"Basic {encoded}"))
        case OAuth2():
            return _ClientCredentials(auth, config)
    return None


def check_constants(headers: Mapping[str, str], query: Mapping[str, Any]) -> None:
    """Refuses headers that are ours, and credentials that are written out for everybody who may read options."""
    for name, value in headers.items():
        _check_name(name, f"headers.{name[:100]}")
        if _is_secret(name):
            raise ProviderMisconfigured(f"options.headers.{name[:100]}: must not be here; give it by `auth`.")
        if not re.fullmatch(r"[\x20-\x7e]{0,2000}", value):
            raise ProviderMisconfigured(f"options.headers.{name[:100]}: must be at most 2000 characters of ASCII.")
    for name, value in query.items():
        if not isinstance(value, Reference) and (_is_secret(name) or name.lower() == "key"):
            raise ProviderMisconfigured(f"options.query.{name[:100]}: {LITERAL}.")


def _check_name(name: str, option: str) -> None:
    if name.lower() in _OURS or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", name):
        raise ProviderMisconfigured(f"options.{option}: is not a header that a source can set.")


def _is_secret(name: str) -> bool:
    return _SECRET.search(re.sub(r"[-_.]", "", name[:200].lower())) is not None


class _Fixed:
    """One header."""

    def __init__(self, name: str, value: Secret) -> None:
        self._name = name
        self._value = value

    async def headers(self, connection: Connection) -> Mapping[str, str]:
        return {self._name: self._value.reveal()}

    def renew(self) -> bool:
        return False


class _ClientCredentials:
    """A token of the server at `token_url`, kept until it expires."""

    def __init__(self, auth: OAuth2, config: ProviderConfig) -> None:
        self._auth = auth
        self._config = config
        self._url = parse_address(auth.token_url, "options.auth.token_url")
        self._secret = resolve(auth.client_secret, config, "auth.client_secret")
        self._token: Secret | None = None
        self._expires = 0.0

    async def headers(self, connection: Connection) -> Mapping[str, str]:
        if self._token is None or self._config.clock() >= self._expires:
            self._token = await self._ask(connection)
        return {"Authorization": f"Bearer {self._token.reveal()}"}

    def renew(self) -> bool:
        self._token = None
        return True

    async def _ask(self, connection: Connection) -> Secret:
        form = {"grant_type": "client_credentials"} | ({"scope": self._auth.scope} if self._auth.scope else {})
        # Both are encoded first (RFC 6749, 2.3.1).
        pair = ":".join(quote_plus(it) for it in (self._auth.client_id, self._secret.reveal()))
        headers = {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        request = connection.request(self._url, headers, form)
        body, _ = await fetch(connection, request, self._config.timeout, MAX_ANSWER)
        answer = parse(body, shown(self._url))
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]{1,8192}", token):
            raise ProviderAnswerInvalid(f"{shown(self._url)} gave no access_token: check options.auth.")
        lifetime = answer.get("expires_in")
        if isinstance(lifetime, bool) or not isinstance(lifetime, int) or lifetime <= 0:
            lifetime = 300
        self._expires = self._config.clock() + max(min(lifetime, 86_400) - MARGIN, 1.0)
        return Secret(token)
