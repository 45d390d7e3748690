"""What a process costs before it is ready: its CPU seconds from exec until /health answers 200.

    python -m tests.load.startup [--baseline FOLDER] [--rounds 7] [services...]

With `--baseline` also the ratio to another checkout of this repository, which has its own .venv, in alternation.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from stack.servers.postgres import PostgresServer
from stack.servers.valkey import ValkeyServer
from tests.fixtures.databases import migrate
from tests.fixtures.processes import SECRET, run_process, until_healthy

__all__ = ["COMMANDS", "measure", "running_servers"]

COMMANDS = {
    "auth": ("auth", "serve"),
    "catalog": ("catalog", "serve"),
    "sync-api": ("sync", "serve"),
    "sync-worker": ("sync", "work"),
    "sync-scheduler": ("sync", "schedule"),
}
Settings = Mapping[str, str]


def measure(python: str, service: str, settings: Settings) -> float:
    """CPU seconds, user and system, of a `service` that the interpreter `python` starts, until it is ready."""
    with run_process(*COMMANDS[service], settings, python=python) as process:
        until_healthy(process)
        times = psutil.Process(process.process.pid).cpu_times()
        return times.user + times.system


@contextmanager
def running_servers() -> Iterator[dict[str, Settings]]:
    """The settings of each service, with what it needs to become ready: servers, schemas and auth's keys."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="products-startup-"))
        postgres = stack.enter_context(PostgresServer(f"{folder}/postgres"))
        valkey = stack.enter_context(ValkeyServer(f"{folder}/valkey"))
        secrets = {"SECRET_KEY": SECRET, "SYNC_CLIENT_SECRET": SECRET[::-1]}
        more = secrets | {"REDIS_URL": valkey.url(), "LOG_LEVEL": "warning", "PYTHONPATH": ""}
        settings = {}
        for name, (service, _) in COMMANDS.items():
            settings[name] = more | {"DATABASE_URL": postgres.url(service)}
        for schema in {service for service, _ in COMMANDS.values()}:
            migrate(schema, postgres.url(schema))
        auth = until_healthy(stack.enter_context(run_process("auth", "serve", settings["auth"])))
        yield {name: values | {"AUTH_URL": auth.url, "CATALOG_URL": auth.url} for name, values in settings.items()}


def compare(service: str, settings: Settings, pythons: Sequence[str], rounds: int) -> None:
    """Print the medians of a service, and their ratio if there is a baseline."""
    samples = [[measure(python, service, settings) for python in pythons] for _ in range(rounds)]
    ours, *baseline = (statistics.median(column) for column in zip(*samples, strict=True))
    ratio = "".join(f"{before:>10.2f}{ours / before:>8.2f}" for before in baseline)
    print(f"{service:<16}{ours:>8.2f}{ratio}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.load.startup", description=__doc__)
    parser.add_argument("services", nargs="*", choices=[[], *COMMANDS], default=[])
    parser.add_argument("--baseline", type=Path, help="a checkout with a .venv")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    pythons = [sys.executable, *([str(options.baseline / ".venv/bin/python")] if options.baseline else [])]
    with running_servers() as settings:
        print(f"{'CPU seconds':<16}{'ours':>8}" + f"{'baseline':>10}{'ratio':>8}" * bool(options.baseline))
        for service in options.services or COMMANDS:
            compare(service, settings[service], pythons, options.rounds)


if __name__ == "__main__":
    main()
