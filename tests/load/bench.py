"""`make bench`: our requests against the same ones of other servers, on the same PostgreSQL, in alternation.

    python -m tests.load.bench [--rows by-id,list] [--rounds 5] [--seconds 2] [--baseline ../an-earlier-checkout]

Writes the table into README.md and docs/performance.md, unless only some rows were asked for, and exits 1 when a ratio
misses its budget. `--baseline` is a checkout with a .venv of its own (`make setup` there): its catalog is measured in
the same rounds. All traffic stays on 127.0.0.1.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.load import fastify_server, table
from tests.load.client import Load
from tests.load.measure import measure, pgbench
from tests.load.rows import CHANGES, ROWS, Figures, Row, spare
from tests.load.servers import Servers

__all__ = ["bench", "parse"]

ROOT = Path(__file__).parents[2]
WRITES_PER_SECOND = 20.0
RATIOS = ("reference", "fastify", "baseline")

Sample = Figures


class Bench:
    """Measures rows on `servers`."""

    def __init__(self, servers: Servers, options: argparse.Namespace) -> None:
        self._servers, self._options = servers, options

    def figures(self, row: Row) -> Figures:
        """Medians over the rounds, and for the ratios the median of the rounds' ratios."""
        if row.request:
            for name in ("ours", *self._others(row)):  # so that each is warm, its JIT compiler too
                self._measure(row, name, self._options.seconds / 2)
        rounds = [self._each(row, self._options.seconds) for _ in range(self._options.rounds)]
        figures = {name: statistics.median(it["ours"][name] for it in rounds) for name in rounds[0]["ours"]}
        figures["errors"] = sum(sample.get("errors", 0) for it in rounds for sample in it.values())
        for name in rounds[0].keys() - {"ours"}:
            if name not in RATIOS:
                figures[name] = statistics.median(it[name]["rps"] for it in rounds)
                continue
            kind = row.figure if name == "baseline" else "rps"
            figures[name] = statistics.median(it["ours"][kind] / it[name][kind] for it in rounds)
        return figures

    def _each(self, row: Row, seconds: float) -> dict[str, Sample]:
        """One measurement of all servers of a row, one after the other."""
        names = ("ours", *self._others(row))
        if row.request is None:
            cpu = {name: self._servers.cpu_of_start(row.server, baseline=name == "baseline") for name in names}
            return {name: {"cpu_ms": spent * 1000} for name, spent in cpu.items()}
        samples = {name: self._measure(row, name, seconds) for name in names}
        if row.statement:
            ids, url = row.ids(self._options.products), self._servers.postgres.url("catalog")
            samples["pgbench"] = pgbench(url, row.statement, ids, row.connections, seconds)
        return samples

    def _others(self, row: Row) -> list[str]:
        return [name for name in row.compared if name not in self._servers.skipped]

    def _measure(self, row: Row, name: str, seconds: float) -> Sample:
        assert row.request
        headers = {"Authorization": f"Bearer {self._servers.token()}"} if row.token else {}
        ids = row.ids(self._options.products)
        path = row.their_path if row.their_path and name in ("reference", "fastify") else row.request.path
        request = replace(row.request, path=path, ids=_parts(ids), headers=row.request.headers | headers)
        load = Load(0, seconds, row.connections, request)
        if row.writes:
            ids = spare(self._options.products)
            changes = replace(CHANGES, ids=_parts(ids), headers=headers)
            load = replace(load, writes=changes, writes_per_second=WRITES_PER_SECOND)
        return measure(self._servers.get(row.server if name == "ours" else name), load)


def _parts(ids: range) -> tuple[int, int, int]:
    return ids.start, ids.stop, ids.step


def bench(options: argparse.Namespace, rows: Sequence[Row] = ROWS) -> int:
    """Measure, print and write; the exit status."""
    chosen = [row for row in rows if row.name in (options.rows or [it.name for it in rows])]
    reason = "--quick" if options.quick else fastify_server.missing()
    results: dict[Row, Figures] = {}
    with Servers(options.products, baseline=options.baseline, no_fastify=reason) as servers:
        print(*table.lines({}, servers.skipped), sep="\n", flush=True)
        runner = Bench(servers, options)
        for row in chosen:
            results[row] = runner.figures(row)
            print(table.line(row, results[row], servers.skipped), flush=True)
        skipped = servers.skipped
    if not (options.quick or options.rows):
        conditions = _conditions(options, fastify="fastify" not in skipped)
        for page, columns in ((ROOT / "README.md", table.SHORT), (ROOT / "docs/performance.md", table.FULL)):
            shown = "\n".join(table.lines(results, skipped, columns))
            table.write(page, "bench", f"{shown}\n\n{conditions}")
    return int(any(row.verdict(figures) not in ("", "ok") for row, figures in results.items()))


def _conditions(options: argparse.Namespace, fastify: bool) -> str:
    products = f"{options.products:,}".replace(",", " ")
    versions = [f"{platform.python_implementation()} {platform.python_version()}"]
    if fastify:
        versions.append(f"Node {fastify_server.node_version()}")
    if options.baseline:
        command = ["git", "-C", str(options.baseline), "log", "-1", "--format=baseline %h"]
        versions.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    return (
        f"{products} products; one process of each, {Row.connections} connections unless the row says otherwise;\n"
        f"medians of {options.rounds} rounds of {options.seconds:g} s; {os.cpu_count()} cores, {', '.join(versions)}."
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.load.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [row.name for row in ROWS]
    parser.add_argument("--rows", type=lambda text: text.split(","), default=[], help=f"some of {', '.join(names)}")
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--baseline", type=lambda text: Path(text).resolve(), help="a checkout with its own .venv")
    parser.add_argument("--quick", action="store_true", help="few products, one short round, no Fastify, no files")
    options = parser.parse_args(arguments)
    if unknown := set(options.rows) - set(names):
        parser.error(f"no such rows: {', '.join(sorted(unknown))}")
    if options.baseline and not (options.baseline / ".venv/bin/python").exists():
        parser.error(f"{options.baseline} has no .venv; run `make setup` there")
    if options.quick:
        options.products, options.rounds, options.seconds = 1_200, 1, 0.3
    return options


if __name__ == "__main__":
    sys.exit(bench(parse()))
