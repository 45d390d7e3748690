"""`make bench`: our hot reads against the reference, on the same PostgreSQL, in alternation, as ratios.

    python -m tests.load.bench [--products 100000] [--rounds 5] [--seconds 3] [--connections 16]

Exits 1 when a ratio is below its budget. All traffic stays on 127.0.0.1.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx

from stack.ports import Ports
from stack.servers.postgres import PostgresServer
from stack.servers.valkey import ValkeyServer
from tests.fixtures.databases import migrate
from tests.fixtures.processes import run_process, until_healthy
from tests.fixtures.waiting import until
from tests.load.seed import seed

BUDGETS = {"/products/{id}": 1.5, "/products?limit=100": 2.5}
UVICORN = {
    "UVICORN_LOOP": "uvloop", "UVICORN_HTTP": "httptools", "UVICORN_ACCESS_LOG": "false",
    "UVICORN_LOG_LEVEL": "warning",
}  # fmt: skip


@dataclass
class Sample:
    """One measurement: requests per second, milliseconds, failed requests."""

    rps: float
    p50: float
    p99: float
    errors: int


@contextmanager
def reference(url: str) -> Iterator[int]:
    """The port of the reference application on the database `url`, as soon as it answers."""
    port = Ports().pick()
    settings = {"DATABASE_URL": url.replace("postgresql://", "postgresql+asyncpg://", 1), "UVICORN_PORT": str(port)}
    with run_process("uvicorn", "tests.load.reference:app", settings | UVICORN) as process:
        until(lambda: answers(f"http://127.0.0.1:{port}/products/1") or process.ended())
        yield port


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def measure(port: int, path: str, options: argparse.Namespace) -> Sample:
    """Load one path of one server from a process of its own."""
    arguments = [port, options.seconds, options.connections, path, options.products]
    command = [sys.executable, "-m", "tests.load.client", *map(str, arguments)]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=options.seconds + 30).stdout)
    return Sample(report["requests"] / report["seconds"], report["p50_ms"], report["p99_ms"], report["errors"])


def compare(path: str, ours: int, reference: int, options: argparse.Namespace) -> bool:
    """Print a row: medians over the rounds, and the median of the rounds' ratios against the budget."""
    rounds = [(measure(ours, path, options), measure(reference, path, options)) for _ in range(options.rounds)]
    ratio = statistics.median(mine.rps / theirs.rps for mine, theirs in rounds)
    for name, samples in (("ours", [pair[0] for pair in rounds]), ("reference", [pair[1] for pair in rounds])):
        rps, p50, p99 = (statistics.median(getattr(it, field) for it in samples) for field in ("rps", "p50", "p99"))
        errors = sum(it.errors for it in samples)
        print(f"{path:<22} {name:<10} {rps:>9.0f} {p50:>9.1f} {p99:>9.1f} {errors:>7}")
    good = ratio >= BUDGETS[path] and not any(it.errors for pair in rounds for it in pair)
    print(f"{path:<22} ratio {ratio:>14.2f}   budget {BUDGETS[path]}: {'ok' if good else 'MISSED'}\n", flush=True)
    return good


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.load.bench", description=__doc__)
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="products-bench-"))
        postgres = stack.enter_context(PostgresServer(f"{folder}/postgres"))
        valkey = stack.enter_context(ValkeyServer(f"{folder}/valkey"))
        url = postgres.url("catalog")
        migrate("catalog", url)
        seed(url, options.products)
        settings = {"DATABASE_URL": url, "REDIS_URL": valkey.url(), "LOG_LEVEL": "warning"}
        ours = until_healthy(stack.enter_context(run_process("catalog", "serve", settings)))
        theirs = stack.enter_context(reference(url))
        print(f"{options.products} products, {options.connections} connections, {options.rounds} x {options.seconds} s")
        print(f"{'path':<22} {'server':<10} {'req/s':>9} {'p50 ms':>9} {'p99 ms':>9} {'errors':>7}", flush=True)
        good = [compare(path, int(ours.url.rpartition(":")[2]), theirs, options) for path in BUDGETS]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
