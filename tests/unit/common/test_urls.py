"""Addresses are shown without what may be a key."""

import pytest

from common.urls import without_secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://shop.example/products", "https://shop.example/products"),
        ("https://user:secret@shop.example:8443/products?key=secret#secret", "https://shop.example:8443/products"),
        ("http://a@b:secret@shop.example/", "http://shop.example/"),
        ("http://user@[2001:db8::1]:8080/products?key=secret", "http://[2001:db8::1]:8080/products"),
    ],
)
def test_without_secrets(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
