"""What is restarted or killed under load comes back, what was acknowledged is still there; two of a kind share it."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from tests.compose.stack import HOST, SERVICES, Stack
from tests.k8s.cluster import until
from tests.k8s.load import Load, login
from tests.k8s.rolling import source_ids

__all__ = ["kills", "restarts", "scale"]

# Requests fail without these; without any other the load goes on as always.
IN_THE_WAY = ("gateway", "catalog", "postgres")
PROBLEM = r"\w+ 503 problem: "
BROKEN = rf"{PROBLEM}|(Connect|Read|Write|RemoteProtocol)Error"
SERVED = (
    "import re, urllib.request as u; text = u.urlopen('http://127.0.0.1:9100/metrics', timeout=5).read().decode(); "
    "print(sum(map(float, re.findall(r'^products_http_requests_total.*route=\"/products.* (\\S+)$', text, re.M))))"
)


def restarts(stack: Stack) -> None:
    """`docker compose restart` of each service."""
    one_by_one(stack, "5 restart", lambda service: stack.compose("restart", service))


def kills(stack: Stack) -> None:
    """SIGKILL to each. Docker takes its own `docker kill` for a stop by hand, after which nothing is restarted."""

    def kill(service: str) -> None:
        process = stack.container(service)["State"]["Pid"]
        script = f"import os; os.kill({process}, 9)"
        stack.docker("run", "--rm", "--pid=host", "--user=0", "--entrypoint=python", "products-api", "-c", script)

    one_by_one(stack, "5 kill", kill)


def one_by_one(stack: Stack, part: str, hit: Callable[[str], object]) -> None:
    """Each service is hit while the others work."""
    with under_load(stack, part) as load:
        for service in SERVICES:
            before, sent, began = Counter(load.failures), load.sent, time.monotonic()
            old = stack.container(service)["State"]["StartedAt"]
            hit(service)
            until(f"{service} is healthy again", partial(back, stack, service, old), 60)
            seconds = time.monotonic() - began
            stack.report.check(part, f"{service} healthy again", "< 30 s", f"{seconds:.1f} s", seconds < 30)
            until("reads, writes and logins are served", stack.serves, 30)
            goes_on(load)
            judge(stack, part, service, load.sent - sent, load.failures - before)


def judge(stack: Stack, part: str, service: str, sent: int, failed: Counter[str]) -> None:
    """Without a service in their way no request fails; with one, only as a client is told to expect."""
    allowed = BROKEN if service == "gateway" else PROBLEM if service in IN_THE_WAY else None
    expected = {BROKEN: "503 problems, broken connections", PROBLEM: "503 problems", None: "none"}[allowed]
    wrong = {text[:90]: count for text, count in failed.items() if not (allowed and re.match(allowed, text))}
    seen = f"{failed.total()} {wrong or ''}".strip()
    stack.report.check(part, f"{service}: failed of {sent} requests", expected, seen, not wrong)


def back(stack: Stack, service: str, old: str) -> bool:
    """Whether a service was started anew and is healthy."""
    state = stack.container(service)["State"]
    return bool(state["StartedAt"] != old and state["Health"]["Status"] == "healthy")


@contextmanager
def under_load(stack: Stack, part: str) -> Iterator[Load]:
    """50 requests a second; afterwards every acknowledged write has to be there."""
    load = Load(stack.url, HOST, login(stack.url, HOST), rate=50)
    with load:
        goes_on(load)
        yield load
    stack.report.check(part, f"lost of {len(load.written)} acknowledged writes", [], load.lost())


def goes_on(load: Load) -> None:
    """Return after another second of requests."""
    reached = load.sent
    until("the load goes on", lambda: load.sent > reached + 50, 30)


def scale(stack: Stack) -> None:
    """Two catalogs share the requests and one may go; two workers are there and one takes a run."""
    report, part = stack.report, "6 scale"
    began = time.monotonic()
    stack.compose("up", "--detach", "--wait", "--scale=catalog=2", "--scale=worker=2", timeout=180)
    report.note(part, "up --scale catalog=2 --scale worker=2 took", f"{time.monotonic() - began:.0f} s")
    catalogs = [it["Id"] for it in stack.containers("catalog")]
    report.check(part, "catalogs", 2, len(catalogs))
    before = served(stack, catalogs)
    # Few requests come over one connection, so to one of the two: the gateway keeps what it has.
    with ThreadPoolExecutor(16) as readers:
        list(readers.map(lambda number: stack.get(f"/products/{number}"), range(3, 190)))
    counts = [after - earlier for after, earlier in zip(served(stack, catalogs), before, strict=True)]
    report.check(part, "requests that each catalog serves, of 187 by 16 at once", "> 18", counts, min(counts) > 18)
    with under_load(stack, part) as load:
        for number, catalog in enumerate(catalogs, 1):
            failures, sent = Counter(load.failures), load.sent
            stack.docker("restart", catalog)
            until("it is healthy again", lambda: all_healthy(stack), 60)
            goes_on(load)
            seen = dict(load.failures - failures)
            report.check(part, f"catalog {number} restarted: failed of {load.sent - sent} requests", {}, seen)
    sync(stack)


def all_healthy(stack: Stack) -> bool:
    return all(it["State"]["Health"]["Status"] == "healthy" for it in stack.containers("catalog"))


def served(stack: Stack, containers: list[str]) -> list[float]:
    """How many requests for products each has answered."""
    return [float(stack.docker("exec", it, "python", "-c", SERVED)) for it in containers]


def sync(stack: Stack) -> None:
    """Two workers, one run, each product once."""
    report, part, admin = stack.report, "6 scale", stack.admin()
    until("two workers", lambda: len(stack.get("/sync/status", headers=admin).json()["workers"]) == 2, 60)
    report.check(part, "workers", 2, 2)
    path = stack.get("/sync/trigger", "POST", headers=admin).json()["status_url"]

    def run() -> dict[str, Any]:
        answer: dict[str, Any] = stack.get(path, headers=admin).json()
        return answer

    until("the run has ended", lambda: run()["state"] not in ("queued", "running"), 60)
    seen = run()
    report.check(part, "a sync run, taken by so many workers", ("succeeded", 1), (seen["state"], seen["attempt"]))
    ids = source_ids(stack.release)
    report.check(
        part, "products of the source (the tour deleted one), each once", (193, 193), (len(ids), len(set(ids)))
    )
