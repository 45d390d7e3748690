"""Tokens that are remembered: what costs a signature, and what still counts each time."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jose import jws
from jose.backends.cryptography_backend import CryptographyECKey

from common.web import tokens
from common.web.errors import Unauthenticated, Unavailable
from common.web.tokens import ALGORITHM, LEEWAY_SECONDS, TYPE, AccessToken, TokenVerifier

Clock = Callable[[float], None]


class CountingKey(CryptographyECKey):
    """A public key that knows how many signatures it has checked."""

    def __init__(self, private: CryptographyECKey) -> None:
        public: Any = private.public_key()  # type: ignore[no-untyped-call]
        super().__init__(public.to_dict(), ALGORITHM)
        self.checked = 0

    def verify(self, msg: bytes, sig: bytes) -> bool:
        self.checked += 1
        good: bool = super().verify(msg, sig)  # type: ignore[no-untyped-call]
        return good


class Keys:
    """A `KeyProvider` of keys that a test changes."""

    def __init__(self, **keys: Any) -> None:
        self.keys = keys
        self.away = False

    async def key(self, kid: str) -> Any:
        if self.away:
            raise Unavailable("away")
        return self.keys.get(kid)


@pytest.fixture
def private() -> CryptographyECKey:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return CryptographyECKey(pem, ALGORITHM)


@pytest.fixture
def public(private: CryptographyECKey) -> CountingKey:
    return CountingKey(private)


@pytest.fixture
def keys(public: CountingKey) -> Keys:
    return Keys(a=public)


@pytest.fixture
def move_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Sets the time, in seconds from now."""
    began = time.time()
    return lambda seconds: monkeypatch.setattr(time, "time", lambda: began + seconds)


def signed(private: CryptographyECKey, subject: str = "1", *, issued: int = 0, **claims: Any) -> str:
    """A token of 900 s, issued so many seconds from now."""
    now = int(time.time())
    token = AccessToken(subject=subject, role="admin", issued_at=now + issued, expires_at=now + 900)
    return jws.sign(token._claims() | claims, private, {"kid": "a", "typ": TYPE}, ALGORITHM)


async def test_a_signature_is_checked_once(private: CryptographyECKey, public: CountingKey, keys: Keys) -> None:
    verifier, token, another = TokenVerifier(keys), signed(private), signed(private, "2")
    assert [(await verifier.verify(token)).subject for _ in range(100)] == ["1"] * 100
    assert public.checked == 1
    assert (await verifier.verify(another)).subject == "2"
    assert public.checked == 2


async def test_a_remembered_token_ends_with_its_key(
    private: CryptographyECKey, public: CountingKey, keys: Keys
) -> None:
    verifier, token = TokenVerifier(keys), signed(private)
    await verifier.verify(token)
    del keys.keys["a"]
    with pytest.raises(Unauthenticated, match="unknown key"):
        await verifier.verify(token)
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    keys.keys["a"] = CryptographyECKey(stranger, ALGORITHM)
    with pytest.raises(Unauthenticated, match="signature"):
        await verifier.verify(token)
    keys.keys["a"] = public
    assert (await verifier.verify(token)).subject == "1"
    assert public.checked == 2


async def test_a_remembered_token_needs_keys_that_are_not_stale(private: CryptographyECKey, keys: Keys) -> None:
    verifier, token = TokenVerifier(keys), signed(private)
    await verifier.verify(token)
    keys.away = True
    with pytest.raises(Unavailable):
        await verifier.verify(token)


async def test_a_remembered_token_expires(private: CryptographyECKey, keys: Keys, move_clock: Clock) -> None:
    verifier, token = TokenVerifier(keys), signed(private)
    await verifier.verify(token)
    move_clock(900 + LEEWAY_SECONDS - 2)
    await verifier.verify(token)
    move_clock(900 + LEEWAY_SECONDS + 2)
    with pytest.raises(Unauthenticated, match="expired"):
        await verifier.verify(token)


async def test_a_remembered_token_has_a_beginning(private: CryptographyECKey, keys: Keys, move_clock: Clock) -> None:
    verifier = TokenVerifier(keys)
    issued_tokens = signed(private), signed(private, issued=-7200, nbf=int(time.time()))
    for token in issued_tokens:
        await verifier.verify(token)
    # The clock of this machine was wrong and is set back.
    move_clock(-3600)
    for token in issued_tokens:
        with pytest.raises(Unauthenticated, match="not valid yet"):
            await verifier.verify(token)


async def test_what_differs_from_a_remembered_token_is_checked(private: CryptographyECKey, keys: Keys) -> None:
    verifier, token = TokenVerifier(keys), signed(private)
    await verifier.verify(token)
    header, claims, signature = token.split(".")
    wrong = "B" if signature[10] == "A" else "A"
    for forged in (
        f"{header}.{claims}.{signature[:10]}{wrong}{signature[11:]}",
        f"{header}.{signed(private, '2').split('.')[1]}.{signature}",
        f"{header}.{claims}.",
        f"{token}.x",
        f"{token}\udcff",
    ):
        with pytest.raises(Unauthenticated):
            await verifier.verify(forged)


async def test_what_is_remembered_is_bounded_and_holds_no_token(
    private: CryptographyECKey, public: CountingKey, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MAX_REMEMBERED", 3)
    verifier, issued = TokenVerifier(keys), [signed(private, str(number)) for number in range(10)]
    for token in issued:
        await verifier.verify(token)
    assert len(verifier._verified) == 3
    assert not any(part in repr(verifier._verified) for token in issued for part in token.split(".")[1:])
    checked = public.checked
    for token in issued[-3:]:
        await verifier.verify(token)
    assert public.checked == checked
    await verifier.verify(issued[0])
    assert public.checked == checked + 1
