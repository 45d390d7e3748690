"""A supervised process: its output, its restarts, its end."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil

from stack.logs import LogFile
from stack.process import SupervisedProcess
from stack.specs import ProcessSpec, Stage

SLEEPER = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"


class Child:
    """A process under test, and what it showed."""

    def __init__(self, folder: Path, code: str) -> None:
        self.shown: list[tuple[str, str]] = []
        self.changes = 0
        self.log = folder / "child.log"
        spec = ProcessSpec(name="child", argv=[sys.executable, "-c", code], env={"PATH": os.defpath}, stage=Stage.API)
        self.process = SupervisedProcess(
            spec, LogFile(self.log), lambda name, line: self.shown.append((name, line)), self._changed
        )

    def _changed(self) -> None:
        self.changes += 1

    async def until_shown(self, line: str, times: int = 1) -> None:
        async with asyncio.timeout(10):
            while sum(text == line for _, text in self.shown) < times:  # noqa: ASYNC110 - lines come from a callback
                await asyncio.sleep(0.01)

    async def stop(self, grace: float = 3) -> None:
        await self.process.stop(grace, asyncio.Event())


async def test_output_is_shown_by_line_and_kept_as_it_is(tmp_path: Path) -> None:
    child = Child(tmp_path, r"import os; os.write(1, b'a\n\nb'); os.write(2, b'c\nend')")
    child.process.start()
    await child.until_shown("end")
    await child.stop()

    assert [line for name, line in child.shown if name == "child"][:4] == ["a", "", "bc", "end"]
    assert child.log.read_text().startswith("a\n\nbc\nend")


async def test_a_killed_process_is_restarted(tmp_path: Path) -> None:
    child = Child(tmp_path, SLEEPER)
    child.process.start()
    await child.until_shown("up")
    first = child.process.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await child.until_shown("up", times=2)

    assert child.process.pid not in (None, first)
    assert child.process.exits == 1
    assert ("stack", "child exited (signal SIGKILL); restarting it in 0.2 s") in child.shown
    assert child.changes == 3
    await child.stop()
    assert child.process.pid is None


async def test_delays_grow_for_a_process_that_keeps_exiting(tmp_path: Path) -> None:
    child = Child(tmp_path, "raise SystemExit(3)")
    child.process.start()
    await child.until_shown("child exited (exit code 3); restarting it in 0.4 s")
    await child.stop()

    assert child.process.exits == 2


async def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    child = Child(tmp_path, STUBBORN)
    child.process.start()
    await child.until_shown("up")
    pid = child.process.pid
    await child.stop(grace=0.2)

    assert pid is not None
    assert not psutil.pid_exists(pid)
    assert ("stack", "child did not stop in time and is killed") in child.shown


async def test_a_second_request_to_stop_kills_at_once(tmp_path: Path) -> None:
    child = Child(tmp_path, STUBBORN)
    child.process.start()
    await child.until_shown("up")
    kill = asyncio.Event()
    kill.set()
    async with asyncio.timeout(5):
        await child.process.stop(60, kill)

    assert child.process.pid is None
