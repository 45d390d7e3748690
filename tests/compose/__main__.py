"""Tries docker compose for real: `python -m tests.compose`, or `make compose-test`."""

import argparse
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.compose import faults, first, second
from tests.compose.stack import Stack
from tests.k8s.cluster import Failed
from tests.k8s.machine import Machine
from tests.k8s.report import Report

TEXT = """
Works on the Docker engine that `docker` talks to, with a clone of the last commit, in a compose project and on a port
of its own; all of it is gone afterwards, but the images stay.
Needs docker with compose 2, git, bash and curl on PATH, and two cores without much other work.
Environment:
  SHORT   1: without the parts under load
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.compose",
        description=__doc__,
        epilog=TEXT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    # So that a `kill` cleans up, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = Report(Machine())
    with tempfile.TemporaryDirectory() as scratch:
        try:
            stack = Stack(report, Path(scratch) / "clone")
            try:
                parts(stack, short=os.environ.get("SHORT", "") not in ("", "0"))
            finally:
                report.say("removing the project")
                stack.clean()
        except (Exception, KeyboardInterrupt) as error:
            broke(report, "harness", error)
    report.note("harness", "processors", os.cpu_count())
    print(f"{report}\n\n{len(report.rows)} rows, {report.failed} failed, {time.monotonic() - report.began:.0f} s")
    return 1 if report.failed else 0


def parts(stack: Stack, short: bool) -> None:
    """All that is tried, in the order in which a user meets it; a part that breaks does not stop the next."""
    steps: list[tuple[str, Callable[[Stack], None]]] = [
        ("3 inner paths, 4 tour", first.outside),
        ("2 hardening", first.hardening),
        ("8 settings", first.settings),
    ]
    if not short:
        steps += [
            ("5 restart", faults.restarts),
            ("5 kill", faults.kills),
            ("6 scale", faults.scale),
        ]
    steps.append(("7 down and up", second.down_and_up))
    first.cold_up(stack)
    for name, step in steps:
        began = time.monotonic()
        try:
            step(stack)
        except Exception as error:
            broke(stack.report, name, error)
        stack.report.note(name, "took", f"{time.monotonic() - began:.0f} s")


def broke(report: Report, part: str, error: BaseException) -> None:
    """A row for what ended a part early, on one line, and where it was if nobody expected it."""
    if isinstance(error, Exception) and not isinstance(error, Failed):
        traceback.print_exception(error)
    said = " ".join([type(error).__name__, *str(error).split()])
    shown = said if len(said) < 600 else f"{said[:150]} ... {said[-450:]}"
    report.check(part, "went through", "to its end", shown, False)


if __name__ == "__main__":
    sys.exit(main())
