"""What the gateway costs: CPU time a request in front of an application that answers at once, and its memory.

    python -m tests.load.gateway [--rounds 5] [--seconds 2] [--baseline ../an-earlier-checkout]

Writes the table into docs/performance.md. `--baseline` is a checkout with a .venv of its own: its gateway is measured
in the same rounds. All traffic stays on 127.0.0.1.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil

from stack.ports import HOST, Ports
from stack.run_dir import RunDir
from stack.servers import gateway
from stack.servers.standalone import Standalone
from stack.specs import ProcessSpec, Stage
from tests.fixtures.stack import folder
from tests.load import table
from tests.load.client import Load, Request
from tests.load.measure import measure
from tests.load.servers import UVICORN, Server, answers

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/performance.md"
# About what DummyJSON's products are: one of 1 KB, a page of 100 KB.
PRODUCT = json.dumps({"id": 1, "name": "Essence Mascara Lash Princess", "description": "A popular mascara. " * 55})
PRODUCTS = json.dumps({"items": [json.loads(PRODUCT) | {"id": n, "price": n * 1.37} for n in range(100)]})
ROWS = {
    "a product of 1 KB": Load(0, 0, 16, Request("/products/1")),
    "a product, 64 connections": Load(0, 0, 64, Request("/products/1")),
    "a product, 1 connection": Load(0, 0, 1, Request("/products/1")),
    "a product, gzip": Load(0, 0, 16, Request("/products/1", headers={"Accept-Encoding": "gzip"})),
    "a page of 100 KB": Load(0, 0, 16, Request("/products")),
    "a page, gzip": Load(0, 0, 16, Request("/products", headers={"Accept-Encoding": "gzip"})),
    "a page, zstd": Load(0, 0, 16, Request("/products", headers={"Accept-Encoding": "zstd"})),
}
COLUMNS = ("requests/s", "p50 ms", "p99 ms", "CPU ms")
FIGURES = ("rps", "p50", "p99", "cpu_ms")


def main(options: argparse.Namespace) -> None:
    """Start all, measure in alternation, print and write the table."""
    with ExitStack() as stack:
        path = stack.enter_context(folder())
        upstream = _start(stack, path, _application(path), "application")
        servers = {"gateway": _start(stack, path, _current(upstream.port), "gateway")}
        if options.baseline:
            servers["baseline"] = _start(stack, path, _earlier(options.baseline, path, upstream.port), "baseline")
        servers["none"] = upstream
        lines = [
            f"| request | gateway: {' | '.join(COLUMNS)} | baseline: CPU ms | ratio | without: requests/s |",
            f"|{'---|' * (len(COLUMNS) + 4)}",
        ]
        print(*lines, sep="\n", flush=True)
        for title, load in ROWS.items():
            rounds = []
            for seconds in (0.3, *[options.seconds] * options.rounds):
                sized = Load(0, seconds, load.connections, load.request)
                rounds.append({name: measure(server, sized) for name, server in servers.items()})
            lines.append(_line(title, rounds[1:]))
            print(lines[-1], flush=True)
        memory = ", ".join(f"{name} {_megabytes(it)} MB" for name, it in servers.items() if name != "none")
    conditions = (
        f"Medians of {options.rounds} rounds of {options.seconds:g} s; {os.cpu_count()} cores. Memory: {memory}."
    )
    print(conditions)
    table.write(PAGE, "gateway", "\n".join([*lines, "", conditions]))


def _line(title: str, rounds: Sequence[dict[str, dict[str, float]]]) -> str:
    def median(name: str, figure: str) -> float:
        return statistics.median(it[name][figure] for it in rounds)

    cells = [title, *(table.number(median("gateway", figure)) for figure in FIGURES)]
    if "baseline" in rounds[0]:
        ratio = statistics.median(it["gateway"]["cpu_ms"] / it["baseline"]["cpu_ms"] for it in rounds)
        cells += [table.number(median("baseline", "cpu_ms")), f"{table.number(ratio)}x"]
    else:
        cells += ["", ""]
    errors = sum(it[name]["errors"] for it in rounds for name in it)
    cells.append(table.number(median("none", "rps")) + (f", {errors:.0f} errors" if errors else ""))
    return f"| {' | '.join(cells)} |"


def _megabytes(server: Server) -> int:
    roots = [psutil.Process(pid) for pid in server.pids]
    return round(sum(it.memory_info().rss for root in roots for it in (root, *root.children())) / 1e6)


def _start(stack: ExitStack, path: Path, spec: ProcessSpec, name: str) -> Server:
    run_dir = RunDir(path / name)
    run_dir.create()
    server = Standalone(spec, run_dir)
    stack.callback(server.stop)
    assert spec.url is not None
    port = int(spec.url.rpartition(":")[2])
    server.wait(lambda: answers(port))
    return Server(port, (server.process.pid,))


def _application(path: Path) -> ProcessSpec:
    port = Ports().pick()
    env = UVICORN | {"UVICORN_PORT": str(port), "PATH": os.environ["PATH"]}
    for name, text in (("BARE_PRODUCT", PRODUCT), ("BARE_PAGE", PRODUCTS)):
        (path / name).write_text(text, "utf-8")
        env[name] = str(path / name)
    argv = [sys.executable, "-m", "uvicorn", "tests.load.bare:app"]
    return ProcessSpec(name="application", argv=argv, env=env, stage=Stage.API, url=f"http://{HOST}:{port}")


def _current(upstream: int) -> ProcessSpec:
    ports = Ports()
    upstreams = {service: [upstream] for service in ("auth", "catalog", "sync")}
    return gateway.spec(ports.pick(), ports.pick(), upstreams, pretty=False, environment={})


def _earlier(checkout: Path, path: Path, upstream: int) -> ProcessSpec:
    """The gateway of another checkout: this package, or Caddy before it."""
    caddyfile = checkout / "deploy/gateway/Caddyfile"
    current = _current(upstream)
    env = dict(current.env) | {"PATH": os.environ["PATH"]}
    assert current.url is not None
    if not caddyfile.exists():
        argv = [str(checkout / ".venv/bin/python"), *current.argv[1:]]
        return ProcessSpec(name="gateway", argv=argv, env=env, stage=Stage.GATEWAY, url=current.url)
    home = str(path / "caddy")
    env |= {"GATEWAY_BIND": HOST, "GATEWAY_ADDRESS": f":{env['PORT']}", "BACKEND_CORS_ORIGINS": "", "HOME": home}
    env |= {"XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home}
    argv = [str(checkout / ".venv/bin/caddy"), "run", "--config", str(caddyfile), "--adapter", "caddyfile"]
    return ProcessSpec(name="gateway", argv=argv, env=env, stage=Stage.GATEWAY, url=current.url)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.load.gateway", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--baseline", type=lambda text: Path(text).resolve(), help="a checkout with its own .venv")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(parse())
