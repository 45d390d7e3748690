"""A supervised process: started, kept alive on the same port, stopped."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable

from stack.logfile import LogFile
from stack.pump import LinePump
from stack.spawn import spawn
from stack.spec import Spec

__all__ = ["Process", "exit_of"]

FIRST_DELAY, LONGEST_DELAY = 0.2, 5.0
# Who lived this long did start: the next restart is quick again.
STEADY_AFTER = 10.0
KILL_GRACE = 2.0


class Process:
    """Keeps one `Spec` running until `stop`. `on_change` is called when its pid changes."""

    def __init__(
        self, spec: Spec, log: LogFile, show: Callable[[str, str], None], on_change: Callable[[], None]
    ) -> None:
        self.spec = spec
        self.exits = 0
        self._log = log
        self._show = show
        self._on_change = on_change
        self._popen: subprocess.Popen[bytes] | None = None
        self._stopping = asyncio.Event()
        self._exited = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """None while it waits to be restarted."""
        return self._popen.pid if self._popen else None

    def start(self) -> None:
        self._keeper = asyncio.create_task(self._keep(), name=self.spec.name)

    async def stop(self, grace: float, hurry: asyncio.Event) -> None:
        """Ask it to stop; after `grace` seconds, or when `hurry` is set, kill its whole process group."""
        self._stopping.set()
        if self._popen is not None:
            self._popen.send_signal(self.spec.stop_signal)
            self._popen.send_signal(signal.SIGCONT)  # who is frozen must hear it too
            if not await self._gone_within(grace, hurry):
                self._show("stack", f"{self.spec.name} did not stop in time and is killed")
                os.killpg(self._popen.pid, signal.SIGKILL)
        if self._keeper is not None:
            await asyncio.wait({self._keeper}, timeout=KILL_GRACE)
        self._log.close()

    async def _keep(self) -> None:
        delay = FIRST_DELAY
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                how = _describe(await self._run_once())
            except OSError as error:  # such as a program that is missing, or no memory to fork
                how = str(error)
            if self._stopping.is_set():
                return
            self.exits += 1
            delay = FIRST_DELAY if time.monotonic() - started > STEADY_AFTER else delay
            self._show("stack", f"{self.spec.name} ended ({how}); starting it again in {delay:.1f} s")
            await _first_of(self._stopping, timeout=delay)
            delay = min(delay * 2, LONGEST_DELAY)

    async def _run_once(self) -> int:
        reading, writing = os.pipe()
        try:
            self._popen = spawn(self.spec, writing)
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._exited.clear()
        pump = await LinePump.attach(reading, self._received)
        self._on_change()
        code = await exit_of(self._popen)
        self._popen = None
        self._exited.set()
        self._on_change()
        pump.finish()
        return code

    async def _gone_within(self, grace: float, hurry: asyncio.Event) -> bool:
        await _first_of(self._exited, hurry, timeout=grace)
        return self._exited.is_set()

    def _received(self, data: bytes, lines: list[str]) -> None:
        if data:
            self._log.write(data)
        for line in lines:
            self._show(self.spec.name, line)


async def exit_of(process: subprocess.Popen[bytes]) -> int:
    """Wait without a thread where the kernel can tell (Linux), else look often."""
    if not hasattr(os, "pidfd_open"):
        while process.poll() is None:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.05)
        return process.wait()
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    handle = os.pidfd_open(process.pid)
    loop.add_reader(handle, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)
    return process.wait()


async def _first_of(*events: asyncio.Event, timeout: float) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


def _describe(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
