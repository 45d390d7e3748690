"""Starts everything in order, keeps it running, and stops it in the reverse order."""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import psutil
from gateway import routes

from stack import state
from stack.console import Console
from stack.errors import StackError
from stack.health import get_json, is_healthy
from stack.logs import LogFile, tail
from stack.plan import Plan
from stack.process import SupervisedProcess, wait_for_exit
from stack.servers.migrations import MigrationState
from stack.servers.postgres import ExternalPostgres, PostgresServer
from stack.specs import ProcessSpec, Stage
from stack.status import banner

__all__ = ["Supervisor"]

READY_WITHIN = 90.0
# A process that exits this often before the stack is ready is reported as broken.
MOST_EXITS = 4
# How long the banner waits for the first sync, which takes less than a second where it works.
FIRST_SYNC_WITHIN = 4.0
STOP_WITHIN = 9.0
# The part of it that is left for PostgreSQL's checkpoint.
POSTGRES_SHARE = 2.5


class Supervisor:
    """One run of the stack, from the first process to the last."""

    def __init__(self, plan: Plan, console: Console, *, background: bool = False) -> None:
        self._plan = plan
        self._run_dir = plan.run_dir
        self._console = console
        self._background = background
        self._processes: list[SupervisedProcess] = []
        self._ready = False
        self._stop = asyncio.Event()
        self._kill = asyncio.Event()

    async def run(self) -> None:
        """Return after an orderly stop; raise StackError when the start fails."""
        self._handle_signals()
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
        await self._start_servers()
        state.write_environments(self._run_dir, self._plan)
        await self._start_services()
        # The gateway is checked last, since its paths need the services.
        others = [process for process in self._processes if process.spec.stage is not Stage.GATEWAY]
        await asyncio.gather(*(self._wait_until_healthy(process) for process in others))
        await self._wait_until_routed()
        self._console.say("  gateway is ready")
        first_sync = await self._first_sync()
        self._console.say(banner(self._plan, background=self._background, sync=first_sync))
        self._console.say(f"ready after {time.monotonic() - began:.1f} s")
        self._console.flush()
        self._ready = True
        self._write_state()
        if not self._background:
            self._console.show_output()

    async def _start_servers(self) -> None:
        """Return when the database has its roles and schemas."""
        postgres, redis = self._plan.postgres, self._plan.redis
        if redis is not None:
            redis.prepare()
        if isinstance(postgres, ExternalPostgres):
            postgres.bootstrap()
        for spec in self._plan.servers():
            self._launch(spec)
        if isinstance(postgres, PostgresServer):
            postgres.prepare()
            await self._wait_until(postgres.is_ready, self._launch(postgres.spec()))
            self._console.say("  postgres is ready")
            postgres.bootstrap()

    async def _start_services(self) -> None:
        """APIs at once: they get ready when their tables are there. Worker and scheduler need their tables."""
        services = self._plan.services()
        for spec in services:
            if spec.stage is Stage.API:
                self._launch(spec)
        postgres = self._plan.postgres
        migrations = MigrationState(postgres.home / "schemas.json", postgres.url())
        if outdated := migrations.outdated():
            await asyncio.gather(*(self._migrate(service) for service in outdated))
            migrations.save()
            self._console.say(f"  schemas of {', '.join(outdated)} are at their newest revisions")
        for spec in services:
            if spec.stage is not Stage.API:
                self._launch(spec)

    def _launch(self, spec: ProcessSpec) -> SupervisedProcess:
        process = SupervisedProcess(spec, LogFile(self._log_of(spec)), self._console.line, self._write_state)
        self._processes.append(process)
        process.start()
        return process

    async def _migrate(self, service: str) -> None:
        spec = self._plan.migration(service)
        with self._log_of(spec).open("wb") as output:
            process = spec.spawn(output)
        try:
            code = await wait_for_exit(process)
        except asyncio.CancelledError:
            process.kill()
            raise
        if code:
            raise _failure(f"the migration of {service} failed", tail(self._log_of(spec), 20))

    async def _wait_until_healthy(self, process: SupervisedProcess) -> None:
        if (url := process.spec.health_url) is not None:
            await self._wait_until(partial(is_healthy, url), process)
            self._console.say(f"  {process.spec.name} is ready")

    async def _wait_until_routed(self) -> None:
        """The gateway checks its upstreams twice a second: wait until it has found them all ready."""
        gateway = next(it for it in self._processes if it.spec.stage is Stage.GATEWAY)
        for path in (*(it.health for it in routes.SERVICES), "/products"):
            await self._wait_until(partial(is_healthy, self._plan.gateway_url + path), gateway)

    async def _first_sync(self) -> dict[str, Any]:
        """What /sync/health answers after the first sync, or after some seconds of waiting for its end."""
        deadline = time.monotonic() + FIRST_SYNC_WITHIN
        while True:
            answer = await get_json(self._plan.gateway_url + "/sync/health")
            ended = answer.get("last_success_at") or answer.get("retry_at")
            if ended or time.monotonic() > deadline or not self._plan.settings.replicas["sync-worker"]:
                return answer
            await asyncio.sleep(0.1)

    async def _wait_until(self, condition: Callable[[], object], process: SupervisedProcess) -> None:
        """Poll until `condition` is true; raise StackError with the log of `process` when it exits or takes long."""
        deadline = time.monotonic() + READY_WITHIN
        while True:
            outcome = condition()
            if await outcome if asyncio.iscoroutine(outcome) else outcome:
                return
            if process.exits >= MOST_EXITS or time.monotonic() > deadline:
                fault = "keeps exiting" if process.exits else "does not get ready"
                raise _failure(f"{process.spec.name} {fault}", tail(self._log_of(process.spec), 20))
            await asyncio.sleep(0.05)

    async def _stop_all(self) -> None:
        began, self._ready = time.monotonic(), False
        self._run_dir.stack_file.unlink(missing_ok=True)
        descendants = psutil.Process().children(recursive=True)
        self._processes.sort(key=attrgetter("spec.stage"))
        for stage, group in groupby(self._processes, key=attrgetter("spec.stage")):
            left = STOP_WITHIN - (time.monotonic() - began) - (0 if stage is Stage.POSTGRES else POSTGRES_SHARE)
            await asyncio.gather(*(it.stop(max(0.1, min(it.spec.grace, left)), self._kill) for it in group))
        for process in descendants:  # left by a child, such as the process of a worker's job
            with suppress(psutil.NoSuchProcess):
                process.kill()
        state.clear(self._run_dir)
        self._console.say(f"stopped after {time.monotonic() - began:.1f} s")

    def _write_state(self) -> None:
        state.write_pids(self._run_dir, self._processes)
        if self._ready:
            state.write_stack(self._run_dir, self._plan, self._processes)

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop_requested)

    def _stop_requested(self) -> None:
        if self._stop.is_set():
            self._kill.set()  # the second request: stop without grace
        else:
            self._console.say("stopping ...")
        self._stop.set()

    def _log_of(self, spec: ProcessSpec) -> Path:
        return self._run_dir.logs / f"{spec.name}.log"


async def _cancel(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _failure(what: str, lines: Sequence[str]) -> StackError:
    return StackError("\n".join([f"{what}:", *(f"  {line}" for line in lines)]))
