"""Which scenarios run, in which order, and the table of what they saw."""

import argparse
import os
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, TypeVar

from tests.deploy.commands import Failed
from tests.deploy.report import Report

__all__ = ["Scenario", "UnknownScenario", "chosen", "main", "run"]

T = TypeVar("T")
EPILOG = """{text}
  SCENARIOS    which to run, with those that they need (all): {names}
  SHORT        1: only {short}
"""


class UnknownScenario(Exception):
    """A selection that names what is not there, or nothing."""


@dataclass(frozen=True)
class Scenario(Generic[T]):
    """Something to try on a deployment; `needs` come before it, `short` ones are those of SHORT=1."""

    name: str
    run: Callable[[T], None]
    needs: tuple[str, ...] = ()
    short: bool = False


def chosen(scenarios: Sequence[Scenario[T]], names: str | None, short: bool) -> list[Scenario[T]]:
    """The scenarios that SCENARIOS names and those that they need, in the order of the table."""
    by_name = {scenario.name: scenario for scenario in scenarios}
    if names is None:
        wanted = [scenario.name for scenario in scenarios if scenario.short or not short]
    else:
        wanted = [name.strip() for name in names.split(",") if name.strip()]
        if not wanted or (unknown := [name for name in wanted if name not in by_name]):
            missing = f"no scenario {', '.join(unknown)}" if wanted else "no scenario named"
            raise UnknownScenario(f"SCENARIOS={names}: {missing}; there are {', '.join(by_name)}")
    found: set[str] = set()
    while wanted:
        found.add(name := wanted.pop())
        wanted += by_name[name].needs
    return [scenario for scenario in scenarios if scenario.name in found]


def run(scenarios: Sequence[Scenario[T]], report: Report, context: T) -> None:
    """Each on `context`. What breaks does not stop the next, but for those that need it."""
    broken: set[str] = set()
    for scenario in scenarios:
        began = time.monotonic()
        try:
            if missing := broken.intersection(scenario.needs):
                raise Failed(f"needs {', '.join(sorted(missing))}")
            scenario.run(context)
        except Exception as error:
            broken.add(scenario.name)
            broke(report, scenario.name, error)
        report.note(scenario.name, "took", f"{time.monotonic() - began:.0f} s")


def broke(report: Report, part: str, error: BaseException) -> None:
    """A row for what ended a part early, on one line, and where it was if nobody expected it."""
    if isinstance(error, Exception) and not isinstance(error, Failed):
        traceback.print_exception(error)
    text = " ".join([type(error).__name__, *str(error).split()])
    shown = text if len(text) < 600 else f"{text[:150]} ... {text[-450:]}"
    report.check(part, "went through", "to its end", shown, False)


def main(
    scenarios: Sequence[Scenario[T]],
    report: Report,
    prepare: Callable[[Report], AbstractContextManager[T]],
    *,
    program: str,
    description: str | None,
    text: str,
) -> int:
    """Run what the environment chooses on what `prepare` makes and removes; print the table; 1 if a row failed."""
    names, short = (", ".join(it.name for it in scenarios if it.short or not only) for only in (False, True))
    epilog = EPILOG.format(text=text.rstrip(), names=names, short=short)
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(program, description=description, epilog=epilog, formatter_class=formatter)
    parser.parse_args()
    try:
        selection = chosen(scenarios, os.environ.get("SCENARIOS"), os.environ.get("SHORT", "") not in ("", "0"))
    except UnknownScenario as error:
        parser.error(str(error))
    # So that a `kill` cleans up, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with prepare(report) as context:
            run(selection, report, context)
    except (Exception, KeyboardInterrupt) as error:
        broke(report, "harness", error)
    report.note("harness", "processors", os.cpu_count())
    print(f"{report}\n\n{len(report.rows)} rows, {report.failed} failed, {time.monotonic() - report.began:.0f} s")
    return 1 if report.failed else 0
