"""Wrapping of private keys."""

from auth.keys import Wrapping, make


def test_a_wrapped_key_opens_with_its_secret_and_kid_alone() -> None:
    wrapping = Wrapping("one secret")
    wrapped = wrapping.wrap("kid", b"private")
    assert Wrapping("one secret").unwrap("kid", wrapped) == b"private"
    assert Wrapping("another secret").unwrap("kid", wrapped) is None
    assert wrapping.unwrap("another kid", wrapped) is None
    assert wrapping.unwrap("kid", wrapped[:-1] + bytes([wrapped[-1] ^ 1])) is None
    assert wrapped != wrapping.wrap("kid", b"private")


def test_a_new_key_publishes_only_its_public_half() -> None:
    wrapping = Wrapping("one secret")
    key = make(wrapping)
    assert key.public_jwk.keys() == {"kty", "crv", "x", "y", "alg", "use", "kid"}
    assert key.public_jwk["kid"] == key.kid
    pem = wrapping.unwrap(key.kid, key.private_key)
    assert pem is not None
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----")
