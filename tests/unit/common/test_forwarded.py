"""Whose address a service believes: the last one of X-Forwarded-For, and only from a trusted proxy."""

from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from common.web.forwarded import ForwardedMiddleware

PROXY, CLIENT = ("10.1.2.3", 4711), ("198.51.100.7", 0)


async def seen(trusted: str, peer: tuple[str, int] | None, **headers: str) -> Scope:
    """The scope that the application gets."""
    passed: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(scope)

    async def nothing(*_: Any) -> Any: ...

    encoded = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "scheme": "http", "client": peer, "headers": encoded}
    await ForwardedMiddleware(app, trusted)(scope, nothing, nothing)
    return passed[0]


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("198.51.100.7", CLIENT),
        ("203.0.113.9, 198.51.100.7", CLIENT),
        ("203.0.113.9,198.51.100.7 ", CLIENT),
        ("198.51.100.7:40312", CLIENT),
        ("2001:db8::7", ("2001:db8::7", 0)),
        ("[2001:db8::7]", ("2001:db8::7", 0)),
        ("[2001:DB8::7]:40312", ("2001:db8::7", 0)),
        ("198.51.100.7, unknown", PROXY),
        ("198.51.100.7,", PROXY),
        ("198.51.100.7.example", PROXY),
        ("[", PROXY),
        ("", PROXY),
    ],
)
async def test_the_last_address_of_a_trusted_proxy_counts(value: str, client: tuple[str, int]) -> None:
    assert (await seen("10.0.0.0/8", PROXY, x_forwarded_for=value))["client"] == client


@pytest.mark.parametrize(
    ("trusted", "peer"),
    [
        ("10.0.0.0/8", ("203.0.113.1", 4711)),
        ("10.0.0.0/8", ("::ffff:203.0.113.1", 4711)),
        ("127.0.0.1", PROXY),
        ("", PROXY),
        # A peer without an address, as at a Unix socket.
        ("*", None),
        ("*", ("", 0)),
    ],
)
async def test_nobody_else_is_believed(trusted: str, peer: tuple[str, int] | None) -> None:
    scope = await seen(trusted, peer, x_forwarded_for="198.51.100.7", x_forwarded_proto="https")
    assert (scope["client"], scope["scheme"]) == (peer, "http")


@pytest.mark.parametrize(
    ("value", "scheme"), [("https", "https"), ("http, https", "https"), ("https, http", "http"), ("javascript", "http")]
)
async def test_the_scheme_is_that_of_the_proxy(value: str, scheme: str) -> None:
    assert (await seen("*", PROXY, x_forwarded_proto=value))["scheme"] == scheme
