"""Writes docs/metrics.md from what each process registers with prometheus_client: `python -m tools.metrics`."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from stack.services import PROGRAMS

__all__ = ["PAGE", "PROCESSES", "Metric", "metrics", "page"]

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/metrics.md"
# The module that each command of a service runs.
MODULES = {"serve": "app", "work": "worker", "schedule": "scheduler"}
PROCESSES = {name: f"{program.service}.{MODULES[program.command]}" for name, program in PROGRAMS.items()}
HEAD = """\
# Metrics

Written by `make metrics` from what the processes register.

Every process serves `/metrics` on a port of its own (`METRICS_PORT`), never through the gateway. Beside these it has
those of prometheus_client: `process_*` and `python_*`. A histogram has the series `_bucket`, `_count` and `_sum`.

| metric | type | labels | processes | meaning |
|---|---|---|---|---|
"""


class Metric(NamedTuple):
    """A metric of a process, by the name that Prometheus stores."""

    name: str
    type: str
    labels: tuple[str, ...]
    meaning: str


@cache
def metrics() -> dict[Metric, list[str]]:
    """All metrics by name, with the processes that have them. Each process is imported by itself."""
    found: dict[Metric, list[str]] = {}
    for process, module in PROCESSES.items():
        command = [sys.executable, "-m", "tools.metrics", module]
        printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout
        for name, kind, labels, meaning in json.loads(printed):
            found.setdefault(Metric(name, kind, tuple(labels), meaning), []).append(process)
    return dict(sorted(found.items()))


def page() -> str:
    """docs/metrics.md."""
    rows = [
        f"| `{metric.name}` | {metric.type} | {', '.join(f'`{label}`' for label in metric.labels)} "
        f"| {'all' if len(processes) == len(PROCESSES) else ', '.join(processes)} | {metric.meaning} |\n"
        for metric, processes in metrics().items()
    ]
    return HEAD + "".join(rows)


def _registered(module: str) -> Iterator[Metric]:
    """The metrics of this process after importing `module`; FAULTS adds its own to any."""
    for imported in (module, "common.faults"):
        importlib.import_module(imported)
    services = {name.partition(".")[0] for name in PROCESSES.values()} | {"common"}
    ours = [kind for kind in Collector.__subclasses__() if kind.__module__.partition(".")[0] in services]
    # prometheus_client keeps labels and registered collectors to itself.
    wrappers = [it for it in REGISTRY._collector_to_names if isinstance(it, MetricWrapperBase)]
    for collector in (*wrappers, *ours):
        for metric in collector.describe():  # type: ignore[attr-defined]  # Collector does not declare it
            labels = tuple((collector if collector in wrappers else metric)._labelnames)
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            yield Metric(name, metric.type, labels, metric.documentation)


def main(*arguments: str) -> None:
    if arguments:
        print(json.dumps(list(_registered(*arguments))))
        return
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main(*sys.argv[1:])
