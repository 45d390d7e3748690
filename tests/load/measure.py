"""One measurement of one server: requests a second, latency and CPU time; or what PostgreSQL alone can do."""

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from catalog import products
from catalog.products import MAX_PAGE_BYTES
from stack.servers.postgres_install import programs
from tests.load.client import Load
from tests.load.servers import Server

__all__ = ["measure", "pgbench"]

STATEMENTS = {
    "product": (products._GET, {"ids": "ARRAY[:id]"}),
    "page": (products._PAGE, {"after": ":id", "limit": "101", "skip": "0", "max_bytes": str(MAX_PAGE_BYTES)}),
}


def measure(server: Server, load: Load) -> dict[str, float]:
    """Load a server from a process of its own."""
    command = [sys.executable, "-m", "tests.load.client", str(replace(load, port=server.port))]
    before = server.cpu_seconds()
    report = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=load.seconds + 60).stdout)
    cpu = server.cpu_seconds() - before
    return {
        "rps": report["requests"] / report["seconds"],
        "p50": report["p50_ms"],
        "p99": report["p99_ms"],
        "cpu_ms": cpu * 1000 / report["requests"],
        "errors": report["errors"],
    }


def pgbench(
    url: str, statement: Literal["product", "page"], ids: range, connections: int, seconds: float
) -> dict[str, float]:
    """What clients in C get from PostgreSQL with the same statement, prepared, for random ones of `ids`."""
    parts = urlsplit(url)
    query, values = STATEMENTS[statement]
    script = (
        f"\\set id {ids.start} + random(0, {len(ids) - 1}) * {ids.step}\n{query.sql % tuple(query.values(**values))};\n"
    )
    with tempfile.TemporaryDirectory(prefix="products-bench-") as folder:
        file = Path(folder) / "script.sql"
        file.write_text(script)
        command = [str(programs(None) / "pgbench"), "-n", "-M", "prepared", "-f", str(file), "-c", str(connections)]
        command += ["-T", str(max(1, round(seconds))), "-h", str(parts.hostname), "-p", str(parts.port)]
        command += ["-U", str(parts.username), parts.path[1:]]
        environment = {"PATH": os.environ["PATH"], "PGPASSWORD": str(parts.password)}
        done = subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True, timeout=seconds + 60
        )
    found = re.search(r"^tps = ([0-9.]+) ", done.stdout, re.MULTILINE)
    assert found, done.stdout
    return {"rps": float(found[1])}
