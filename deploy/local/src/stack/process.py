"""A supervised process: started, restarted on the same port when it exits, stopped."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self, cast

from stack.logs import LogFile
from stack.specs import ProcessSpec

__all__ = ["SupervisedProcess", "wait_for_exit"]

FIRST_DELAY, LONGEST_DELAY = 0.2, 5.0
# A process that ran for this long did start, so its next restart is quick again.
STABLE_AFTER = 10.0
KILL_GRACE = 2.0
LONGEST_LINE = 64 * 1024


class SupervisedProcess:
    """Keeps one process running until `stop`.

    `show` gets the name and each line of output; `on_change` is called when the pid changes.
    """

    def __init__(
        self, spec: ProcessSpec, log: LogFile, show: Callable[[str, str], None], on_change: Callable[[], None]
    ) -> None:
        self.spec = spec
        self.exits = 0
        self._log = log
        self._show = show
        self._on_change = on_change
        self._popen: subprocess.Popen[bytes] | None = None
        self._stopping = asyncio.Event()
        self._exited = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """None while it waits for its restart."""
        return self._popen.pid if self._popen else None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self.spec.name)

    async def stop(self, grace: float, kill: asyncio.Event) -> None:
        """Ask it to stop; kill its process group after `grace` seconds, or as soon as `kill` is set."""
        self._stopping.set()
        if self._popen is not None:
            self._popen.send_signal(self.spec.stop_signal)
            self._popen.send_signal(signal.SIGCONT)  # a suspended process gets its signals when it continues
            await _wait_for_any(self._exited, kill, timeout=grace)
            if not self._exited.is_set():
                self._show("stack", f"{self.spec.name} did not stop in time and is killed")
                os.killpg(self._popen.pid, signal.SIGKILL)
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=KILL_GRACE)
        self._log.close()

    async def _run(self) -> None:
        delay = FIRST_DELAY
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                reason = _describe(await self._run_once())
            except OSError as error:  # such as a missing program, or no memory to fork
                reason = str(error)
            if self._stopping.is_set():
                return
            self.exits += 1
            delay = FIRST_DELAY if time.monotonic() - started > STABLE_AFTER else delay
            self._show("stack", f"{self.spec.name} exited ({reason}); restarting it in {delay:.1f} s")
            await _wait_for_any(self._stopping, timeout=delay)
            delay = min(delay * 2, LONGEST_DELAY)

    async def _run_once(self) -> int:
        reading, writing = os.pipe()
        try:
            self._popen = self.spec.spawn(writing)
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._exited.clear()
        reader = await _OutputReader.attach(reading, self._received)
        self._on_change()
        code = await wait_for_exit(self._popen)
        self._popen = None
        self._exited.set()
        self._on_change()
        reader.finish()
        return code

    def _received(self, data: bytes, lines: list[str]) -> None:
        if data:
            self._log.write(data)
        for line in lines:
            self._show(self.spec.name, line)


class _OutputReader(asyncio.Protocol):
    """Reads a pipe, and calls `receive` with each piece of output and the lines that it completes."""

    def __init__(self, descriptor: int, receive: Callable[[bytes, list[str]], None]) -> None:
        self._descriptor = descriptor
        self._receive = receive
        self._rest = b""
        self._transport: asyncio.ReadTransport | None = None

    @classmethod
    async def attach(cls, descriptor: int, receive: Callable[[bytes, list[str]], None]) -> Self:
        """Read `descriptor` to its end, which comes after the exit if a child of the process still holds the pipe."""
        pipe = os.fdopen(descriptor, "rb", buffering=0)
        _, reader = await asyncio.get_running_loop().connect_read_pipe(lambda: cls(descriptor, receive), pipe)
        return reader

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
        """Called when the process has exited: read what is left in the pipe, then close it."""
        if self._transport is None or self._transport.is_closing():
            return
        with suppress(BlockingIOError):
            while data := os.read(self._descriptor, 65536):
                self.data_received(data)
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        """The last line, if it has no line end."""
        if self._rest:
            self._receive(b"", [self._rest.decode("utf-8", "replace")])
            self._rest = b""


async def wait_for_exit(process: subprocess.Popen[bytes]) -> int:
    """The exit code. Waits for the kernel's notice where there is one (Linux), else polls."""
    if not hasattr(os, "pidfd_open"):
        while process.poll() is None:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.05)
        return process.wait()
    loop, exited = asyncio.get_running_loop(), asyncio.Event()
    handle = os.pidfd_open(process.pid)
    loop.add_reader(handle, exited.set)
    try:
        await exited.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)
    return process.wait()


async def _wait_for_any(*events: asyncio.Event, timeout: float) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


def _describe(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
