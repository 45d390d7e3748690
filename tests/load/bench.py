"""`make bench`: our hot reads against the reference, on the same PostgreSQL, in alternation, as ratios.

    python -m tests.load.bench [--products 100000] [--rounds 5] [--seconds 3] [--connections 16]

Exits 1 when a ratio is below its budget. All traffic stays on 127.0.0.1.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from stack.ports import Ports
from stack.servers.postgres import PostgresServer
from stack.servers.valkey import ValkeyServer
from tests.load.seed import seed

BUDGETS = {"/products/{id}": 1.5, "/products?limit=100": 2.5}
UVICORN = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")


@dataclass
class Sample:
    """One measurement: requests per second, milliseconds, failed requests."""

    rps: float
    p50: float
    p99: float
    errors: int


@contextmanager
def server(command: list[str], environment: dict[str, str], url: str) -> Iterator[None]:
    """Run a server process until it answers, and end it afterwards."""
    process = subprocess.Popen([sys.executable, "-m", *command], env=os.environ | environment)
    try:
        deadline = time.monotonic() + 30
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} does not answer at {url}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(15)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
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
        url, ports = postgres.url("catalog"), Ports()
        ours, metrics, reference = ports.pick(), ports.pick(), ports.pick()
        environment = {"DATABASE_URL": url, "REDIS_URL": valkey.url(), "LOG_LEVEL": "warning"}
        environment |= {"PORT": str(ours), "METRICS_PORT": str(metrics)}
        subprocess.run([sys.executable, "-m", "catalog", "migrate"], env=os.environ | environment, check=True)
        seed(url, options.products)
        stack.enter_context(server(["catalog", "serve"], environment, f"http://127.0.0.1:{ours}/health"))
        command = ["uvicorn", "tests.load.reference:app", "--port", str(reference), *UVICORN]
        database = {"DATABASE_URL": url.replace("postgresql://", "postgresql+asyncpg://", 1)}
        stack.enter_context(server(command, database, f"http://127.0.0.1:{reference}/products/1"))
        print(f"{options.products} products, {options.connections} connections, {options.rounds} x {options.seconds} s")
        print(f"{'path':<22} {'server':<10} {'req/s':>9} {'p50 ms':>9} {'p99 ms':>9} {'errors':>7}", flush=True)
        good = [compare(path, ours, reference, options) for path in BUDGETS]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
