"""Hostile requests against every route, and what each costs: `python -m tests.load.hostile`.

Starts a stack of its own. Each shape of tests/load/shapes.py goes to every route that takes it, through the gateway
and directly to the service, in several sizes. Counted is the CPU time of the process that answers, which does not
depend on who else is busy: it may grow with the number of bytes and no faster. Then, for each shape, another client
reads meanwhile: its p99 has to stay under twice that of idle times. Last come slow senders and many connections.
Prints a table and exits with 1 if anything is not as it should be. All traffic stays on 127.0.0.1.
"""

import argparse
import json
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

from tests.deploy.report import Report
from tests.fixtures.stack import Launcher, running, serving
from tests.fixtures.waiting import until
from tests.load.shapes import SHAPES, Request, Route, Shape

__all__ = ["ADMIN", "faults", "measure", "owner", "routes", "services"]

ADMIN = {"email": "admin@example.com", "password": "correct horse battery", "role": "admin"}
# Up to each limit, and beyond it: URLs 8 KB, headers 16 KB, bodies 16 KB, 128 KB or 1 MB.
KB = 1024
SIZES = {
    "path": (KB, 4 * KB, 7 * KB, 64 * KB),
    "query": (KB, 4 * KB, 7 * KB, 64 * KB),
    "header": (KB, 8 * KB, 15 * KB, 64 * KB),
    "json": (KB, 8 * KB, 15 * KB, 64 * KB, 120 * KB, 1000 * KB),
    "form": (KB, 8 * KB, 15 * KB, 64 * KB, 1000 * KB),
}
# No product, run or source has these.
UNKNOWN = {"product_id": str(10**15), "run_id": "00000000-0000-0000-0000-000000000000"}
# Beside the documented ones: pages, what no document names, and what exists nowhere.
MORE = (Route("GET", "/docs"), Route("GET", "/openapi.json"), Route("GET", "/nothing"), Route("OPTIONS", "/products"))
# Of two sizes the larger may cost this much more than its share of bytes; cost below the floor counts as the floor.
SLACK, FLOOR_SECONDS = 4.0, 0.002
# No one request may keep a process busy for longer, whatever its size.
MOST_SECONDS = 0.25
MOST_ANSWER = 16 * KB


@dataclass(frozen=True)
class Service:
    """One process that answers: where, and whose CPU time counts."""

    name: str
    url: str
    pid: int

    def cpu(self) -> float:
        """Seconds of CPU so far, exact where the kernel tells nanoseconds."""
        tasks = list(Path(f"/proc/{self.pid}/task").glob("*/schedstat"))
        if not tasks:
            times = psutil.Process(self.pid).cpu_times()
            return times.user + times.system
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


@dataclass
class Cost:
    """What one shape cost at one route, by size: status, CPU seconds, bytes sent, bytes answered."""

    service: Service
    route: Route
    shape: Shape
    seen: dict[int, tuple[int, float, int, int]] = field(default_factory=dict)

    def __str__(self) -> str:
        sizes = ", ".join(
            f"{sent / 1024:.0f} KB {status} {cpu * 1000:.1f} ms" for status, cpu, sent, _ in self.seen.values()
        )
        return f"{self.service.name} {self.route.method} {self.route.path} {self.shape.name}: {sizes}"

    @property
    def worst(self) -> float:
        return max(cpu for _, cpu, _, _ in self.seen.values())


def services(stack: dict[str, Any]) -> dict[str, Service]:
    """The gateway and one process of each API, by name."""
    found: dict[str, Service] = {}
    for process in stack["processes"]:
        name = str(process["name"]).partition("-1")[0]
        if name in ("gateway", "auth", "catalog", "sync-api"):
            found.setdefault(name, Service(name, process["url"], serving(process["pid"]).pid))
    return found


def routes(document: dict[str, Any]) -> list[Route]:
    """Every operation of the OpenAPI document, with parameters that lead nowhere."""
    found = list(MORE)
    for path, operations in document["paths"].items():
        filled = path
        for name, value in UNKNOWN.items():
            filled = filled.replace(f"{{{name}}}", value)
        filled = filled.replace("{", "").replace("}", "")
        for method, operation in operations.items():
            body, fields = _body(document, operation)
            found.append(Route(method.upper(), filled, body, fields))
    return found


def _body(document: dict[str, Any], operation: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    content = operation.get("requestBody", {}).get("content", {})
    for kind, name in (("application/json", "json"), ("application/x-www-form-urlencoded", "form")):
        if kind in content:
            schema = content[kind]["schema"]
            while "$ref" in schema or "anyOf" in schema or "allOf" in schema:
                reference = schema.get("$ref") or next(
                    it["$ref"] for it in schema.get("anyOf", schema.get("allOf", [])) if "$ref" in it
                )
                schema = document["components"]["schemas"][reference.rpartition("/")[2]]
            return name, tuple(schema.get("properties", {"name": {}}))
    return "", ()


def owner(route: Route) -> str:
    """The process that answers a path."""
    first = route.path.split("/")[1]
    return {"auth": "auth", ".well-known": "auth", "sync": "sync-api"}.get(first, "catalog")


class Connection:
    """HTTP/1.1 over one socket, made anew when the other end closes it."""

    def __init__(self, url: str) -> None:
        self.address = (urlsplit(url).hostname or "", urlsplit(url).port or 80)
        self._socket: socket.socket | None = None

    def send(self, data: bytes) -> tuple[int, int]:
        """Status and length of the answer; status 0 if the connection ends without one."""
        for fresh in (False, True):
            if self._socket is None or fresh:
                self.close()
                self._socket = socket.create_connection(self.address, timeout=60)
            try:
                return self._exchange(self._socket, data)
            except (ConnectionError, TimeoutError):
                self.close()
        return 0, 0

    def _exchange(self, connection: socket.socket, data: bytes) -> tuple[int, int]:
        # Who is refused by the head may see the connection end while the body is still on its way.
        try:
            connection.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        buffer = b""
        while b"\r\n\r\n" not in buffer:
            if not (received := connection.recv(65536)):
                raise ConnectionResetError
            buffer += received
        head, _, body = buffer.partition(b"\r\n\r\n")
        headers = dict(line.lower().partition(b":")[::2] for line in head.split(b"\r\n")[1:])
        status = int(head.split(b" ", 2)[1])
        length = int(headers.get(b"content-length", b"0"))
        chunked = b"chunked" in headers.get(b"transfer-encoding", b"")
        while (chunked and not body.endswith(b"0\r\n\r\n")) or (not chunked and len(body) < length):
            if not (received := connection.recv(65536)):
                break
            body += received
        if headers.get(b"connection", b"").strip() == b"close":
            self.close()
        return status, len(body)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def measure(service: Service, route: Route, shape: Shape, token: str, repeats: int = 3) -> Cost:
    """Send a shape in each of its sizes; a cost that looks wrong counts only if it is so twice."""
    cost = Cost(service, route, shape)
    with closing(Connection(service.url)) as connection:
        for _ in range(2):
            for size in SIZES[shape.part]:
                seen = _average(service, connection, shape.make(route, size).encoded("localhost", token), repeats)
                cost.seen[size] = min(cost.seen.get(size, seen), seen, key=lambda it: it[1])
            if not faults(cost):
                break
    return cost


def _average(service: Service, connection: Connection, data: bytes, repeats: int) -> tuple[int, float, int, int]:
    before = service.cpu()
    for _ in range(repeats):
        status, answered = connection.send(data)
    # The kernel counts when the process goes to sleep, which it does after the answer.
    time.sleep(0.002)
    return status, (service.cpu() - before) / repeats, len(data), answered


def faults(cost: Cost) -> list[str]:
    """What is wrong with a cost, in sentences."""
    return [finding for check in (growing, too_costly, wrong_answer) if (finding := check(cost))]


def growing(cost: Cost) -> str:
    """What is wrong with how a cost grows from one size to the next; nothing if it grows with the bytes."""
    rows = list(cost.seen.values())
    for (_, less, few, _), (_, more, many, _) in pairwise(rows):
        if many > few and more > SLACK * many / few * max(less, FLOOR_SECONDS):
            return f"{many / few:.0f} times the bytes cost {more / max(less, FLOOR_SECONDS):.0f} times as much: {cost}"
    return ""


def too_costly(cost: Cost) -> str:
    return f"over {MOST_SECONDS * 1000:.0f} ms of CPU: {cost}" if cost.worst > MOST_SECONDS else ""


def wrong_answer(cost: Cost) -> str:
    """A client's error is a client error with a short answer, and the server says so itself."""
    for status, _, sent, answered in cost.seen.values():
        if status in (0, 500, 502, 504):
            return f"answered {status or 'nothing'}: {cost}"
        if status >= 400 and answered > max(MOST_ANSWER, sent):
            return f"{answered} bytes of answer to {sent}: {cost}"
    return ""


class Victim(threading.Thread):
    """Another client, who reads one product again and again and notes how long it takes."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.latencies: list[float] = []
        self.ends = threading.Event()

    def run(self) -> None:
        with closing(Connection(self.url)) as connection:
            data = Request("GET", "/products/1").encoded("localhost", "")
            while not self.ends.is_set():
                began = time.perf_counter()
                status, _ = connection.send(data)
                self.latencies.append(time.perf_counter() - began if status == 200 else 60.0)
                self.ends.wait(0.003)


def p99(url: str, meanwhile: Callable[[], object]) -> float:
    """The 99th percentile of a victim's answer times, in ms."""
    victim = Victim(url)
    victim.start()
    meanwhile()
    victim.ends.set()
    victim.join(70)
    return statistics.quantiles(victim.latencies, n=100)[98] * 1000


def attack(service: Service, data: bytes, seconds: float, rate: float = 10.0) -> None:
    """The same request at a steady rate, over one connection."""
    ends = time.monotonic() + seconds
    with closing(Connection(service.url)) as connection:
        while (due := time.monotonic()) < ends:
            connection.send(data)
            time.sleep(max(0.0, due + 1 / rate - time.monotonic()))


@contextmanager
def held(url: str, count: int, start: bytes) -> Iterator[list[socket.socket]]:
    """`count` connections that sent `start` and then one byte a second."""
    address = Connection(url).address
    sockets = [socket.create_connection(address, timeout=10) for _ in range(count)]
    ends = threading.Event()

    def drip() -> None:
        while not ends.wait(1.0):
            for it in sockets:
                try:
                    it.send(b"a")
                except OSError:
                    continue

    for it in sockets:
        it.sendall(start)
    dripping = threading.Thread(target=drip, daemon=True)
    dripping.start()
    try:
        yield sockets
    finally:
        ends.set()
        dripping.join()
        for it in sockets:
            it.close()


SLOW = {
    "slow headers": b"GET /products/1 HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    "half a body": b"POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b'Content-Length: 16000\r\n\r\n{"email": "',
    "half a large body": b"POST /products HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b'Content-Length: 1000000\r\n\r\n{"name": "' + b"a" * 65536,
}  # fmt: skip


def everywhere(report: Report, launcher: Launcher, token: str, chosen: str) -> list[Cost]:
    """Every shape at every route, directly and through the gateway."""
    found = services(launcher.stack)
    document = httpx.get(f"{found['gateway'].url}/openapi.json").raise_for_status().json()
    costs: list[Cost] = []
    for route in routes(document):
        for service in (found[owner(route)], found["gateway"]):
            fitting = [shape for shape in SHAPES if shape.fits(route) and chosen in shape.name]
            mine = [measure(service, route, shape, token) for shape in fitting]
            wrong = [finding for cost in mine for finding in faults(cost)]
            where = f"{service.name} {route.method} {route.path}"
            worst = max((cost.worst for cost in mine), default=0.0)
            report.check(
                "cost", f"{where}: {len(mine)} shapes", "linear, < 250 ms", f"{worst * 1000:.1f} ms", not wrong
            )
            for finding in wrong:
                report.say(f"         {finding}")
            costs += mine
    return costs


def victims(report: Report, launcher: Launcher, token: str, costs: Sequence[Cost], seconds: float) -> None:
    """For each shape the route where it costs most, in its most costly size, while another client reads."""
    gateway = services(launcher.stack)["gateway"].url
    for shape in SHAPES:
        mine = [cost for cost in costs if cost.shape is shape and cost.service.name != "gateway"]
        if not mine:
            continue
        cost = max(mine, key=lambda it: it.worst)
        size = max(cost.seen, key=lambda it: cost.seen[it][1])
        data = shape.make(cost.route, size).encoded("localhost", token)
        what = f"{shape.name}, {len(data) / 1024:.0f} KB at {cost.route.method} {cost.route.path}"
        verdict(report, gateway, what, seconds, partial(attack, cost.service, data, seconds))


def verdict(report: Report, url: str, what: str, seconds: float, meanwhile: Callable[[], object]) -> None:
    """Attacked and idle in turn, up to three times: what a noisy machine does once is no verdict."""
    for _ in range(3):
        attacked, idle = p99(url, meanwhile), p99(url, lambda: time.sleep(seconds))
        if attacked < 2 * idle:
            break
    report.check("victim", what, "p99 < 2 x idle", f"{attacked:.1f} ms, idle {idle:.1f} ms", attacked < 2 * idle)


def slow_senders(report: Report, launcher: Launcher, seconds: float) -> None:
    """300 connections that never finish what they began."""
    found = services(launcher.stack)
    for name, start in SLOW.items():
        for service in (found["gateway"], found["auth" if b"/auth/" in start else "catalog"]):
            process = psutil.Process(service.pid)
            before = process.memory_info().rss
            with held(service.url, 300, start):
                what = f"300 connections with {name} at {service.name}"
                verdict(report, found["gateway"].url, what, seconds, lambda: time.sleep(seconds))
                grown = (process.memory_info().rss - before) / 2**20
            report.check("memory", what, "< +60 MB", f"{grown:+.0f} MB", grown < 60)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.load.hostile", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", default="", help="only shapes with this in their name")
    parser.add_argument("--seconds", type=float, default=3, help="how long each attack on a victim lasts (3)")
    parser.add_argument("--json", help="write every cost to this file")
    options = parser.parse_args()
    report = Report(lambda: "")
    with running({"LOG_LEVEL": "info", "DRAIN_SECONDS": "0"}) as launcher:
        url = launcher.stack["gateway_url"]
        until(lambda: httpx.get(f"{url}/products?limit=1").json()["total"] == 194, 60)
        httpx.post(f"{url}/auth/register", json=ADMIN).raise_for_status()
        login = {name: ADMIN[name] for name in ("email", "password")}
        token = httpx.post(f"{url}/auth/login", json=login).raise_for_status().json()["access_token"]
        costs = everywhere(report, launcher, token, options.shape)
        victims(report, launcher, token, costs, options.seconds)
        slow_senders(report, launcher, options.seconds)
    for cost in sorted(costs, key=lambda it: it.worst)[-20:]:
        report.note("most costly", f"{cost.service.name} {cost.route.method} {cost.route.path}", str(cost))
    if options.json:
        Path(options.json).write_text(json.dumps([str(cost) for cost in costs], indent=1), "utf-8")
    print(f"{report}\n\n{len(report.rows)} rows, {report.failed} failed")
    sys.exit(bool(report.failed))


if __name__ == "__main__":
    main()
