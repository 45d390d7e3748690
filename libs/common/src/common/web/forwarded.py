"""The client's address and scheme, as a trusted proxy forwards them."""

import ipaddress

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
        self._trusted = parse_networks(trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._trusts(scope):
            # Of several headers with one name, dict() keeps the last one, which holds the last address.
            headers = dict(scope["headers"])
            if address := _address(headers.get(b"x-forwarded-for", b"")):
                scope["client"] = (address, 0)
            if (proto := _last(headers.get(b"x-forwarded-proto", b""))) in ("http", "https"):
                scope["scheme"] = proto
        await self.app(scope, receive, send)

    def _trusts(self, scope: Scope) -> bool:
        try:
            peer = ipaddress.ip_address(scope["client"][0])
        except (TypeError, ValueError):
            return False
        return any(peer in network for network in self._trusted)


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
