"""KeyWrapper of private keys."""

from auth.keys import KeyWrapper, generate


def test_a_wrapped_key_opens_with_its_secret_and_kid_alone() -> None:
    wrapper = KeyWrapper("one secret")
    wrapped = wrapper.wrap("kid", b"private")
    assert KeyWrapper("one secret").unwrap("kid", wrapped) == b"private"
    assert KeyWrapper("another secret").unwrap("kid", wrapped) is None
    assert wrapper.unwrap("another kid", wrapped) is None
    assert wrapper.unwrap("kid", wrapped[:-1] + bytes([wrapped[-1] ^ 1])) is None
    assert wrapped != wrapper.wrap("kid", b"private")


def test_a_new_key_publishes_only_its_public_half() -> None:
    wrapper = KeyWrapper("one secret")
    row = generate(wrapper)
    assert row["public_jwk"].keys() == {"kty", "crv", "x", "y", "alg", "use", "kid"}
    assert row["public_jwk"]["kid"] == row["kid"]
    pem = wrapper.unwrap(row["kid"], row["private_key"])
    assert pem is not None
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----")
