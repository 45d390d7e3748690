"""The commands of `python -m stack`; the docstring of each is its help text."""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import psutil

from stack import ROOT, credentials, state, status
from stack import logs as log_files
from stack.console import Console
from stack.errors import StackError
from stack.plan import Plan
from stack.ports import check_free
from stack.run_dir import RunDir, read_json
from stack.settings import Settings
from stack.supervisor import Supervisor

__all__ = ["execute", "logs", "reset", "show_status", "start", "stop", "up"]

READY_WITHIN = 120.0
STOP_WITHIN = 20.0


def up(settings: Settings, args: argparse.Namespace) -> None:
    """run everything here until Ctrl-C"""
    os.umask(0o077)
    run_dir = RunDir(settings.run_dir)
    run_dir.create()
    with run_dir.lock():
        _prepare(run_dir, settings)
        console = Console()
        pretty = settings.log_format == "pretty" or (settings.log_format == "auto" and console.is_terminal)
        secrets = credentials.load(run_dir, settings.environment)
        try:
            console.say("starting ...")
            plan = Plan.create(settings, run_dir, secrets, pretty=pretty, reload=args.dev)
            plan.check_settings()
            asyncio.run(Supervisor(plan, console, background=args.background).run())
        finally:
            console.close()


def start(settings: Settings, args: argparse.Namespace) -> None:
    """run everything in the background; returns when it is ready"""
    run_dir = RunDir(settings.run_dir)
    run_dir.create()
    with run_dir.lock():  # refuses a second start before it overwrites the log of the first
        _prepare(run_dir, settings)
    log = run_dir.logs / "launcher.log"
    with log.open("wb") as output:
        launcher = subprocess.Popen(
            [sys.executable, "-m", "stack", "up", "--background"],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        ready = _show_until_ready(run_dir, launcher, log)
    except KeyboardInterrupt:
        launcher.terminate()
        raise
    if not ready:
        launcher.terminate()
        reason = "\n".join(log_files.tail(log, 60)).partition("stack: ")[2]
        raise StackError(reason or "the stack did not get ready in time")


def stop(settings: Settings, args: argparse.Namespace) -> None:
    """stop what runs here; returns when it has stopped"""
    run_dir = RunDir(settings.run_dir)
    pid = run_dir.holder()
    if not pid:
        print("not running")
        return
    os.kill(pid, signal.SIGTERM)
    if not _wait(lambda: run_dir.holder() is None and not _is_alive(pid), STOP_WITHIN):
        raise StackError(f"pid {pid} does not stop; look at {run_dir.logs / 'launcher.log'}")
    print("stopped")


def show_status(settings: Settings, args: argparse.Namespace) -> None:
    """list the processes and their memory; exit code 3 when nothing runs"""
    status.show(RunDir(settings.run_dir))


def logs(settings: Settings, args: argparse.Namespace) -> None:
    """show and follow the logs, of all or of the named processes"""
    log_files.stream(RunDir(settings.run_dir), args.name or os.environ.get("LOGS", "").split())


def reset(settings: Settings, args: argparse.Namespace) -> None:
    """delete all data of the stack; lists it and asks first, unless YES=1"""
    run_dir = RunDir(settings.run_dir)
    if pid := run_dir.holder():
        raise StackError(f"running (pid {pid}); stop it first with: make stop")
    if not run_dir.path.exists():
        print(f"nothing to delete: {run_dir.path} does not exist")
        return
    print("this is deleted for good:")
    for content, folder in status.data_folders(run_dir).items():
        print(f"  {content:<38} {_megabytes(folder):>8.1f} MB  {folder}")
    if os.environ.get("YES") != "1" and not _confirms():
        raise StackError("nothing is deleted")
    run_dir.remove()
    print("deleted")


def execute(settings: Settings, args: argparse.Namespace) -> NoReturn:
    """run a command with a service's environment: exec catalog -- alembic history"""
    command: Sequence[str] = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        raise StackError("name a command: python -m stack exec catalog -- alembic history")
    run_dir = RunDir(settings.run_dir)
    environments = read_json(run_dir.env_file) if run_dir.holder() else None
    if environments is None:
        raise StackError("not running; start it with: make start", code=status.NOT_RUNNING)
    environment: dict[str, str] = environments[args.service] | {"LOG_FORMAT": "auto"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    if "AUTH_ADMIN_PASSWORD" in os.environ:  # for `create-admin` without a terminal
        environment["AUTH_ADMIN_PASSWORD"] = os.environ["AUTH_ADMIN_PASSWORD"]
    os.chdir(ROOT / "services" / args.service)  # where its alembic.ini is
    try:
        os.execvpe(command[0], list(command), environment)  # noqa: S606
    except OSError as error:
        raise StackError(f"cannot run {command[0]}: {error.strerror}") from None


def _prepare(run_dir: RunDir, settings: Settings) -> None:
    state.stop_orphans(run_dir)
    if settings.port:
        check_free(settings.port)


def _show_until_ready(run_dir: RunDir, launcher: subprocess.Popen[bytes], log: Path) -> bool:
    """Print what the launcher writes until it is ready, exits or takes too long; whether it is ready."""

    def is_ready() -> bool:
        return (state.read_stack(run_dir) or {}).get("launcher_pid") == launcher.pid

    with log.open(encoding="utf-8", errors="replace") as output:

        def has_ended() -> bool:
            ready = is_ready()  # before reading, so that nothing written until then is missed
            # What follows is an error, which `start` raises.
            if lines := output.read().partition("stack: ")[0]:
                print(lines, end="", flush=True)
            return ready or launcher.poll() is not None

        _wait(has_ended, READY_WITHIN)
    return is_ready()


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _wait(condition: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def _confirms() -> bool:
    if not sys.stdin.isatty():
        raise StackError("nothing is deleted: there is no terminal to ask on; if you mean it: YES=1 make reset")
    return input("delete all of it? [y/N] ").strip().lower() in ("y", "yes")


def _megabytes(folder: Path) -> float:
    sizes = (os.lstat(Path(base) / name).st_size for base, _, names in os.walk(folder) for name in names)
    return sum(sizes) / 1_000_000
