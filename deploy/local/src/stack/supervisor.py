"""Starts everything in order, keeps it alive, and stops it in the reverse order."""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any

import psutil

from stack import banner, state
from stack.console import Console
from stack.errors import StackError
from stack.external import ExternalPostgres
from stack.health import answer_of, is_healthy
from stack.logfile import LogFile, tail
from stack.plan import Plan
from stack.postgres import Postgres
from stack.process import Process, exit_of
from stack.schema import Schemas
from stack.spawn import spawn
from stack.spec import Spec, Stage

__all__ = ["Supervisor"]

READY_WITHIN = 90.0
# How often a process may end before the stack is ready until that counts as broken.
TRIES = 4
# What the banner waits for the first sync, which takes less than a second where it works.
FIRST_SYNC_WITHIN = 4.0
STOP_WITHIN = 9.0
# PostgreSQL's share of it, so that it always gets to write its checkpoint.
RESERVED = 2.5


class Supervisor:
    """One run of the stack, from the first process to the last."""

    def __init__(self, plan: Plan, console: Console, *, background: bool = False) -> None:
        self._plan = plan
        self._run_dir = plan.run_dir
        self._console = console
        self._background = background
        self._processes: list[Process] = []
        self._ready = False
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        """Return after an orderly stop; raise StackError when the start fails."""
        self._listen_to_signals()
        starting = asyncio.create_task(self._start())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await stopping
        finally:
            await _cancel(starting, stopping)
            await self._stop_all()

    async def _start(self) -> None:
        began = time.monotonic()
        postgres, valkey = self._plan.postgres, self._plan.valkey
        if valkey is not None:
            valkey.prepare()
        if isinstance(postgres, ExternalPostgres):
            postgres.bootstrap()
        for spec in self._plan.servers():
            self._launch(spec)
        if isinstance(postgres, Postgres):
            postgres.prepare()
            await self._until(self._launch(postgres.spec()), postgres.is_ready)
            self._console.say("  postgres is ready")
            postgres.bootstrap()
        state.write_environments(self._run_dir, self._plan)
        await self._start_services()
        # The gateway is asked last: it can only be as healthy as what stands behind it.
        behind = [process for process in self._processes if process.spec.stage is not Stage.GATEWAY]
        await asyncio.gather(*(self._until_healthy(process) for process in behind))
        await self._until_routed()
        self._console.say("  gateway is ready")
        first = await self._first_sync()
        self._console.say(banner.ready(self._plan, background=self._background, sync=first))
        self._console.say(f"ready after {time.monotonic() - began:.1f} s")
        self._console.flush()
        self._ready = True
        self._write_state()
        if not self._background:
            self._console.follow()

    async def _start_services(self) -> None:
        """Answering ones at once: they turn ready when their schema is. Background work needs its tables."""
        services = self._plan.services()
        for spec in services:
            if spec.stage is Stage.API:
                self._launch(spec)
        schemas = Schemas(self._plan.postgres)
        if outdated := schemas.outdated():
            await asyncio.gather(*(self._migrate(service) for service in outdated))
            schemas.remember()
            self._console.say(f"  schemas of {', '.join(outdated)} are at their newest revisions")
        for spec in services:
            if spec.stage is not Stage.API:
                self._launch(spec)

    def _launch(self, spec: Spec) -> Process:
        log = LogFile(self._run_dir.logs / f"{spec.name}.log")
        process = Process(spec, log, self._console.line, self._write_state)
        self._processes.append(process)
        process.start()
        return process

    async def _migrate(self, service: str) -> None:
        spec = self._plan.migration(service)
        log = self._run_dir.logs / f"{spec.name}.log"
        with log.open("wb") as output:
            process = spawn(spec, output)
        try:
            code = await exit_of(process)
        except asyncio.CancelledError:
            process.kill()
            raise
        if code:
            raise _failure(f"the migration of {service} failed", tail(log, 20))

    async def _until_healthy(self, process: Process) -> None:
        if (url := process.spec.health_url) is not None:
            await self._until(process, partial(is_healthy, url))
            self._console.say(f"  {process.spec.name} is ready")

    async def _until_routed(self) -> None:
        """The gateway looks at its upstreams once a second: wait until it has seen them all."""
        gateway = next(it for it in self._processes if it.spec.stage is Stage.GATEWAY)
        for path in ("/health", "/auth/health", "/sync/health", "/products"):
            await self._until(gateway, partial(is_healthy, self._plan.gateway_url + path))

    async def _first_sync(self) -> dict[str, Any]:
        """What /sync/health tells of the first sync, after waiting a moment for its end."""
        deadline = time.monotonic() + FIRST_SYNC_WITHIN
        while True:
            told = await answer_of(self._plan.gateway_url + "/sync/health")
            over = told.get("last_success_at") or told.get("retry_at") or time.monotonic() > deadline
            if over or not self._plan.settings.replicas["sync-worker"]:
                return told
            await asyncio.sleep(0.1)

    async def _until(self, process: Process, condition: Callable[[], object]) -> None:
        """Wait until `condition`, called again and again, holds; `process` is whom to blame."""
        deadline = time.monotonic() + READY_WITHIN
        while True:
            outcome = condition()
            if await outcome if asyncio.iscoroutine(outcome) else outcome:
                return
            if process.exits >= TRIES or time.monotonic() > deadline:
                how = "keeps ending" if process.exits else "does not get ready"
                log = self._run_dir.logs / f"{process.spec.name}.log"
                raise _failure(f"{process.spec.name} {how}", tail(log, 20))
            await asyncio.sleep(0.05)

    async def _stop_all(self) -> None:
        began, self._ready = time.monotonic(), False
        self._run_dir.stack_file.unlink(missing_ok=True)
        descendants = psutil.Process().children(recursive=True)
        self._processes.sort(key=attrgetter("spec.stage"))
        for stage, group in groupby(self._processes, key=attrgetter("spec.stage")):
            left = STOP_WITHIN - (time.monotonic() - began) - (0 if stage is Stage.POSTGRES else RESERVED)
            await asyncio.gather(*(it.stop(max(0.1, min(it.spec.grace, left)), self._hurry) for it in group))
        for process in descendants:  # what a child left behind, such as a worker's work horse
            with suppress(psutil.NoSuchProcess):
                process.kill()
        state.forget(self._run_dir)
        self._console.say(f"stopped after {time.monotonic() - began:.1f} s")

    def _write_state(self) -> None:
        state.write_pids(self._run_dir, self._processes)
        if self._ready:
            state.write_stack(self._run_dir, self._plan, self._processes)

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._asked_to_stop)

    def _asked_to_stop(self) -> None:
        if self._stop.is_set():
            self._hurry.set()  # asked twice: no more patience
        else:
            self._console.say("stopping ...")
        self._stop.set()


async def _cancel(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _failure(what: str, lines: Sequence[str]) -> StackError:
    return StackError("\n".join([f"{what}:", *(f"  {line}" for line in lines)]))
