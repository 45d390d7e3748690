"""Whose address a service believes: the one that the outermost trusted proxy added to X-Forwarded-For."""

from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from common.web.forwarded import ForwardedMiddleware

PROXY, CLIENT = ("10.1.2.3", 4711), ("198.51.100.7", 0)
FORGED = "203.0.113.66"


async def seen(hops: int, *headers: tuple[str, str], peer: tuple[str, int] | None = PROXY) -> Scope:
    """The scope that the application gets."""
    passed: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(scope)

    async def nothing(*_: Any) -> Any: ...

    encoded = [(name.encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "scheme": "http", "client": peer, "headers": encoded}
    await ForwardedMiddleware(app, hops)(scope, nothing, nothing)
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
async def test_with_one_proxy_the_last_address_counts(value: str, client: tuple[str, int]) -> None:
    assert (await seen(1, ("x-forwarded-for", value)))["client"] == client


@pytest.mark.parametrize("hops", range(1, 5))
@pytest.mark.parametrize("forged", ["", FORGED, f"{FORGED}, {FORGED}, {FORGED}, {FORGED}", "x,,;"])
@pytest.mark.parametrize("lines", [1, 2, 3])
async def test_what_a_client_writes_before_its_address_counts_for_nothing(hops: int, forged: str, lines: int) -> None:
    chain = [*([forged] if forged else []), "198.51.100.7", *(f"10.0.0.{hop}" for hop in range(1, hops))]
    # A proxy may append to the list, or add a header of its own.
    cut = len(chain) - min(lines, len(chain)) + 1
    headers = [("x-forwarded-for", ", ".join(chain[:cut])), *(("x-forwarded-for", address) for address in chain[cut:])]
    assert (await seen(hops, *headers))["client"] == CLIENT


async def test_a_chain_that_is_too_short_ends_at_its_first_address() -> None:
    """As where one of several ways in has fewer proxies."""
    assert (await seen(3, ("x-forwarded-for", "198.51.100.7, 10.0.0.1")))["client"] == CLIENT


@pytest.mark.parametrize("peer", [PROXY, ("::ffff:203.0.113.1", 4711), None, ("", 0)])
async def test_without_proxies_nobody_is_believed(peer: tuple[str, int] | None) -> None:
    scope = await seen(0, ("x-forwarded-for", "198.51.100.7"), ("x-forwarded-proto", "https"), peer=peer)
    assert (scope["client"], scope["scheme"]) == (peer, "http")


@pytest.mark.parametrize(
    ("value", "scheme"), [("https", "https"), ("http, https", "https"), ("https, http", "http"), ("javascript", "http")]
)
async def test_the_scheme_is_that_of_the_proxy(value: str, scheme: str) -> None:
    assert (await seen(1, ("x-forwarded-proto", value)))["scheme"] == scheme
