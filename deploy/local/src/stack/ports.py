"""Free TCP ports on 127.0.0.1."""

import os
import random
import socket
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from stack.errors import StackError

__all__ = ["HOST", "Ports", "check_free"]

HOST = "127.0.0.1"
LOWEST = 10000
MOST_HELD = 64
_held: deque[int] = deque()
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def check_free(port: int) -> None:
    """Raise StackError, with advice, if `port` is in use or reserved for root."""
    try:
        _bind(port)
    except PermissionError:
        raise StackError(
            f"no permission for port {port}: low ports are for root; choose another: PORT={_alternative(8000)} make run"
        ) from None
    except OSError:
        raise StackError(
            f"port {port} is taken; stop what uses it or choose another: PORT={_alternative(port)} make run"
        ) from None


class Ports:
    """Picks distinct free ports below the ephemeral range, from which the kernel takes ports for outgoing connections.

    So the port of a process is still free when it restarts, and no client connects to itself in the meantime. No other
    process picks the same one before it is used, since the same port of UDP is held for it.
    """

    def __init__(self, taken: set[int] | None = None) -> None:
        self._taken = set(taken or ())
        self._candidates = _candidates(random.SystemRandom())

    def pick(self, owner: str = "") -> int:
        """A free port; for the same `owner` the same one as ever, unless somebody has it now."""
        for port in _candidates(random.Random(owner)) if owner else self._candidates:  # noqa: S311
            if port not in self._taken and _is_free(port) and _reserve(port):
                self._taken.add(port)
                return port
        raise StackError("no free TCP port is left on 127.0.0.1")


def _candidates(chance: random.Random) -> Iterator[int]:
    try:
        first_ephemeral = int(EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        first_ephemeral = 32768
    ports = range(LOWEST, first_ephemeral) if first_ephemeral > LOWEST + 1000 else range(LOWEST, 65536)
    return iter(chance.sample(ports, len(ports)))


def _is_free(port: int) -> bool:
    try:
        _bind(port)
    except OSError:
        return False
    return True


def _reserve(port: int) -> bool:
    """Hold the port of UDP until this process ends, or has picked many more; False if another process holds it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        try:
            held.bind((HOST, port))
        except OSError:
            return False
        _held.append(held.detach())
    if len(_held) > MOST_HELD:
        os.close(_held.popleft())
    return True


def _bind(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))


def _alternative(port: int) -> int:
    nearby = (port + step for step in range(10, 1000, 10) if port + step <= 65535)
    return next((candidate for candidate in nearby if _is_free(candidate)), Ports().pick())
