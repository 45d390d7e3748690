"""The keys that verify tokens, as catalog and sync have them from auth."""

from collections.abc import AsyncIterator

import httpx
import pytest
from jose import jwk, jws
from jose.utils import base64url_encode

from common.web.errors import Unauthenticated, Unavailable
from common.web.jwks import JWKSClient
from common.web.tokens import ALGORITHM, TokenVerifier
from tests.fixtures import checked
from tests.fixtures.catalog import Auth


class Source:
    """Auth, which may go away and come back."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.away = False
        self.asked = 0

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.away:
            raise httpx.ConnectError("away")
        async with checked.AsyncClient() as client:
            return httpx.Response(200, content=(await client.get(str(request.url))).content)


@pytest.fixture
def source(auth_process: Auth) -> Source:
    return Source(auth_process.url)


@pytest.fixture
async def keys(source: Source) -> AsyncIterator[JWKSClient]:
    async with httpx.AsyncClient(transport=httpx.MockTransport(source.answer)) as http:  # unchecked: a service's own
        yield JWKSClient(source.url, http)


@pytest.fixture
def verifier(keys: JWKSClient) -> TokenVerifier:
    return TokenVerifier(keys)


def token_of(auth: Auth) -> str:
    return auth.admin["Authorization"].removeprefix("Bearer ")


async def test_a_token_is_verified_by_the_key_that_it_names(
    keys: JWKSClient, verifier: TokenVerifier, auth_process: Auth
) -> None:
    assert (await verifier.verify(token_of(auth_process))).role == "admin"
    _, body, signature = token_of(auth_process).split(".")
    header = base64url_encode(b'{"alg":"ES256","typ":"at+jwt","kid":"another"}').decode()
    with pytest.raises(Unauthenticated, match="unknown key"):
        await verifier.verify(f"{header}.{body}.{signature}")
    assert await keys.key("another") is None


async def test_keys_serve_on_while_auth_is_away(
    verifier: TokenVerifier, source: Source, auth_process: Auth, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await verifier.verify(token_of(auth_process))).role == "admin"
    source.away = True
    asked = source.asked
    # Old enough to be fetched anew, again and again.
    for name, seconds in (("FRESH_SECONDS", 0.0), ("THROTTLE_SECONDS", 0.0)):
        monkeypatch.setattr(JWKSClient, name, seconds)
    for _ in range(3):
        assert (await verifier.verify(token_of(auth_process))).role == "admin"
    assert source.asked == asked + 3
    monkeypatch.setattr(JWKSClient, "STALE_SECONDS", 0.0)
    with pytest.raises(Unavailable):
        await verifier.verify(token_of(auth_process))


async def test_a_token_that_is_too_long_is_not_looked_at(verifier: TokenVerifier, source: Source) -> None:
    with pytest.raises(Unauthenticated, match="too long"):
        await verifier.verify("a" * 4097)
    assert not source.asked


async def test_a_key_of_somebody_else_verifies_nothing(keys: JWKSClient, auth_process: Auth) -> None:
    (known,) = (await keys._http.get(keys._url)).json()["keys"]
    other = jwk.construct({"kty": "oct", "k": "c2VjcmV0"}, "HS256")
    forged = jws.sign({"sub": "x"}, other.to_dict()["k"], {"kid": known["kid"], "typ": "at+jwt"}, "HS256")
    with pytest.raises(Unauthenticated):
        await TokenVerifier(keys).verify(forged)
    assert ALGORITHM == "ES256"
