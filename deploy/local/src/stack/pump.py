"""Reads what a process writes, whole lines at a time."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Self, cast

__all__ = ["LinePump"]

LONGEST_LINE = 64 * 1024

Receiver = Callable[[bytes, list[str]], None]


class LinePump(asyncio.Protocol):
    """Hands every piece to `receive` as raw bytes and as the lines that it completes."""

    def __init__(self, descriptor: int, receive: Receiver) -> None:
        self._descriptor = descriptor
        self._receive = receive
        self._rest = b""
        self._transport: asyncio.ReadTransport | None = None

    @classmethod
    async def attach(cls, descriptor: int, receive: Receiver) -> Self:
        """Read `descriptor` until its end, which a grandchild may hold back for long."""
        pipe = os.fdopen(descriptor, "rb", buffering=0)
        _, pump = await asyncio.get_running_loop().connect_read_pipe(lambda: cls(descriptor, receive), pipe)
        return pump

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.ReadTransport, transport)

    def data_received(self, data: bytes) -> None:
        *whole, rest = (self._rest + data).split(b"\n")
        if len(rest) > LONGEST_LINE:
            whole, rest = [*whole, rest], b""
        self._rest = rest
        self._receive(data, [line.decode("utf-8", "replace").rstrip("\r") for line in whole])

    def connection_lost(self, error: Exception | None) -> None:
        self._flush()

    def finish(self) -> None:
        """The process is gone: take what is still in the pipe and close it."""
        if self._transport is None or self._transport.is_closing():
            return
        with suppress(BlockingIOError):
            while data := os.read(self._descriptor, 65536):
                self.data_received(data)
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        """The last line, when it has no end."""
        if self._rest:
            self._receive(b"", [self._rest.decode("utf-8", "replace")])
            self._rest = b""
