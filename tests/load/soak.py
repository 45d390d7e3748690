"""Half an hour of use and abuse on a stack of its own: `make soak`, or `python -m tests.load.soak --minutes 30`.

100 requests a second of mixed reads and writes, a sync every minute, and every third minute kill -9 of PostgreSQL while
that sync runs. Each minute ends with a look at what every process holds. Memory, files and connections must be flat
after a warm-up, every acknowledged write there, and no request failed but by the 503 of a cut. Prints a table.
"""

import argparse
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil
import psycopg

from tests.deploy.client import Client
from tests.deploy.load import Load
from tests.deploy.machine import Machine
from tests.deploy.report import Report
from tests.fixtures.stack import Launcher, running
from tests.fixtures.waiting import until

PROCESSES = ("auth", "catalog", "sync-api", "sync-worker", "sync-scheduler", "gateway")
# Go's collector breathes by some MB; what leaks shows in the others' way too.
BREATHES = ("gateway",)
CUT_EVERY = 3
# Seconds for PostgreSQL to be started anew and to recover.
CUT_SECONDS = 10.0
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE '%\\_svc'"


@dataclass
class Minute(Load):
    """The load of a minute that remembers when it was refused."""

    refused: list[tuple[float, str]] = field(default_factory=list)

    def _expect(self, answer: httpx.Response, status: int, right: Any) -> bool:
        if answer.status_code == 503:
            self.refused.append((time.monotonic(), f"{answer.request.method} {answer.json()['detail']}"))
            return False
        return super()._expect(answer, status, right)


@dataclass
class Soak:
    """What all minutes together saw."""

    launcher: Launcher
    client: Client
    sent: int = 0
    explained: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    written: dict[int, str] = field(default_factory=dict)
    runs: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    samples: list[dict[str, tuple[float, int]]] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)

    def minute(self, cut: bool) -> None:
        """60 s of load, and what is there when it is quiet again."""
        load, ends = Minute(self.client, self.client.token()), time.monotonic() + 60
        with load:
            run = self.client.trigger()
            began = time.monotonic()
            if cut:
                psutil.Process(self.launcher.pid("postgres")).kill()
            until(lambda: time.monotonic() >= ends, 90)
        unexplained = [text for at, text in load.refused if not (cut and began <= at <= began + CUT_SECONDS)]
        self.explained += len(load.refused) - len(unexplained)
        self.failures += Counter(f"minute {len(self.samples) + 1}: 503 {text}" for text in unexplained)
        self.failures += load.failures
        self.sent += load.sent
        self.latencies += load.latencies
        self.written |= load.written
        self.runs[self.client.ended(run)["state"]] += 1
        self._look()

    def _look(self) -> None:
        sample = {}
        for name in PROCESSES:
            process = self.launcher.serving(name)
            # How many kept connections are just idle is chance; one that nobody closes after its other end did is not.
            living = [it for it in process.net_connections("tcp") if it.status == psutil.CONN_ESTABLISHED]
            sample[name] = (process.memory_info().rss / 2**20, process.num_fds() - len(living))
        self.samples.append(sample)
        with psycopg.connect(self.launcher.stack["database_url"]) as connection:
            self.connections.append(connection.execute(CONNECTIONS).fetchone()[0])  # type: ignore[index]

    def lost(self) -> list[int]:
        """Acknowledged writes that are not there."""
        return Load(self.client, "", written=self.written).lost()


def slope(values: list[float]) -> float:
    """Growth in 10 minutes, of one value a minute."""
    return statistics.linear_regression(range(len(values)), values).slope * 10


def judge(soak: Soak, report: Report, warm_up: int) -> None:
    for name in PROCESSES:
        memory, files = ([sample[name][part] for sample in soak.samples[warm_up:]] for part in (0, 1))
        seen = f"{slope(memory):+.2f} MB / 10 min, {memory[0]:.0f} to {memory[-1]:.0f} MB"
        if name in BREATHES:
            report.note("memory", name, seen)
        else:
            report.check("memory", name, "< +1 MB / 10 min", seen, slope(memory) < 1)
        seen = f"{slope(files):+.1f} / 10 min, {min(files)} to {max(files)}"
        report.check("open files", name, "< +5 / 10 min", seen, slope(files) < 5)
    connections = soak.connections[warm_up:]
    seen = f"{slope(connections):+.1f} / 10 min, {min(connections)} to {max(connections)}"  # type: ignore[arg-type]
    report.check("PostgreSQL", "connections", "< +5 / 10 min", seen, slope(connections) < 5)  # type: ignore[arg-type]
    whole = Minute(soak.client, "", latencies=soak.latencies)
    report.note("requests", "sent", soak.sent)
    report.note("requests", "p50, p99", f"{whole.percentile(0.5)}, {whole.percentile(0.99)}")
    report.note("requests", "503 within a cut", soak.explained)
    report.check("requests", "other errors", {}, dict(+soak.failures))
    report.check("writes", f"lost of {len(soak.written)} acknowledged", [], soak.lost())
    report.check("sync", "runs", {"succeeded": soak.runs.total()}, dict(soak.runs))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.load.soak", description=__doc__)
    parser.add_argument("--minutes", type=int, default=30)
    minutes: int = parser.parse_args().minutes
    if minutes < 5:
        parser.error("no line can be fitted to less than 5 minutes")
    report = Report(Machine())
    with running() as launcher:
        client = Client(launcher.stack["gateway_url"], "localhost")
        until(lambda: client.total() == 194)
        client.register()
        soak = Soak(launcher, client)
        for number in range(1, minutes + 1):
            soak.minute(cut=number % CUT_EVERY == 0)
            memory = ", ".join(f"{name} {soak.samples[-1][name][0]:.0f}" for name in PROCESSES)
            report.say(f"minute {number}: {soak.sent} sent, {soak.explained} 503; MB: {memory}")
        judge(soak, report, warm_up=minutes // 5)
    print(report)
    sys.exit(bool(report.failed))


if __name__ == "__main__":
    main()
