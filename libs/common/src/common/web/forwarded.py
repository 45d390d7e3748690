"""The client's address and scheme, as a trusted proxy forwards them."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

from starlette.types import ASGIApp, Receive, Scope, Send

from common.settings import parse_networks

__all__ = ["ForwardedMiddleware"]


class ForwardedMiddleware:
    """Replaces the address of the peer by the last one in X-Forwarded-For, if the peer is a trusted proxy.

    The last address is the one that the proxy saw. It received those before it from its client, who can write anything
    there, so they are ignored, whatever networks are trusted.
    """

    def __init__(self, app: ASGIApp, trusted: str) -> None:
        self.app = app
        networks = parse_networks(trusted)
        # A gateway sends many requests, each from the same address.
        self._is_trusted = lru_cache(maxsize=256)(lambda peer: _within(peer, networks))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            sent = proto = None
            for name, value in scope["headers"]:
                # Of several headers with one name the last one counts, which holds the last address.
                if name == b"x-forwarded-for":
                    sent = value
                elif name == b"x-forwarded-proto":
                    proto = value
            if (sent or proto) and self._trusts(scope):
                if sent and (address := _address(sent)):
                    scope["client"] = (address, 0)
                if proto and (scheme := _last(proto)) in ("http", "https"):
                    scope["scheme"] = scheme
        await self.app(scope, receive, send)

    def _trusts(self, scope: Scope) -> bool:
        return bool(scope["client"]) and self._is_trusted(scope["client"][0])


def _within(address: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    try:
        peer = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(peer in network for network in networks)


def _last(value: bytes) -> str:
    return value.rpartition(b",")[2].strip().decode("latin-1")


def _address(value: bytes) -> str | None:
    """The last address, without the port that some proxies add; None if there is none."""
    text = _last(value)
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
