"""Connects to public addresses only, so that a source cannot be one of our own network.

A name is resolved here, all that it resolves to is checked, and the connection goes to an address that was checked: a
name that means something else a moment later gains nothing. TLS still verifies the name, and Host still says it.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from sync.providers.base import ProviderRefused

__all__ = ["GuardedTransport", "is_public"]

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


def is_public(address: str) -> bool:
    """Whether anybody on the internet could reach this address, embedded IPv4 addresses looked into."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour
        if embedded is None and (ip in _NAT64 or ip in _COMPATIBLE):
            embedded = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if embedded is not None:
            return is_public(str(embedded))
    hidden = ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_reserved or ip.is_unspecified
    return ip.is_global and not ip.is_multicast and not hidden


class _PublicNetwork(httpcore.AsyncNetworkBackend):
    """A network in which only public addresses exist."""

    def __init__(self) -> None:
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        error: Exception = httpcore.ConnectError("no address")
        for address in await _resolve(host, port, timeout):
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                error = failed
        raise error

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise ProviderRefused("A source cannot be a Unix socket.")

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


async def _resolve(host: str, port: int, timeout: float | None) -> list[str]:
    """The addresses of the host, all of which are public."""
    try:
        async with asyncio.timeout(timeout):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise httpcore.ConnectTimeout("the name was not resolved in time") from None
    except (OSError, UnicodeError):
        raise httpcore.ConnectError("the name cannot be resolved") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not all(map(is_public, addresses)):
        raise ProviderRefused(
            f"{host} is not at a public address, so it is not connected to; ALLOW_PRIVATE_SOURCES=true allows it."
        )
    return addresses[:8]


class GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx's own transport over public addresses. It uses no proxy, which would choose the address itself."""

    def __init__(self) -> None:
        super().__init__()
        self._pool._network_backend = _PublicNetwork()
