"""The client's address and scheme, as the proxies before this process forward them."""

import ipaddress

from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["ForwardedMiddleware"]


class ForwardedMiddleware:
    """Replaces the address of the peer by the client's, which `hops` trusted proxies passed on in X-Forwarded-For.

    Each of them appends the address that it sees, so the client's is the one at place `hops` from the right. What
    stands left of it is what the client wrote itself. Without trusted proxies the header counts for nothing.
    """

    def __init__(self, app: ASGIApp, hops: int) -> None:
        self.app = app
        self._hops = hops

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._hops and scope["type"] == "http":
            chain: list[bytes] = []
            proto = None
            for name, value in scope["headers"]:
                # Several headers with one name are one list, in their order.
                if name == b"x-forwarded-for":
                    chain += value.rsplit(b",", self._hops)[-self._hops :]
                elif name == b"x-forwarded-proto":
                    proto = value
            if chain and (address := _address(chain[-self._hops :][0])):
                scope["client"] = (address, 0)
            if proto and (scheme := proto.rpartition(b",")[2].strip()) in (b"http", b"https"):
                scope["scheme"] = scheme.decode()
        await self.app(scope, receive, send)


def _address(value: bytes) -> str | None:
    """The address, without the port that some proxies add; None if it is none."""
    text = value.strip().decode("latin-1")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
