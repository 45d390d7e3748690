"""Two catalogs share the requests and one may go; two workers are there and one takes a run."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.deploy.commands import until
from tests.deploy.compose.project import Project
from tests.deploy.compose.traffic import under_load

__all__ = ["scale"]

PART = "scale"
SERVED = (
    "import re, urllib.request as u; text = u.urlopen('http://127.0.0.1:9100/metrics', timeout=5).read().decode(); "
    "print(sum(map(float, re.findall(r'^products_http_requests_total.*route=\"/products.* (\\S+)$', text, re.M))))"
)


def scale(project: Project) -> None:
    """`docker compose up --scale`; both catalogs serve, each may be restarted; then a sync."""
    report = project.report
    began = time.monotonic()
    project.compose("up", "--detach", "--wait", "--scale=catalog=2", "--scale=sync-worker=2", timeout=180)
    report.note(PART, "up --scale catalog=2 --scale sync-worker=2 took", f"{time.monotonic() - began:.0f} s")
    catalogs = [it["Id"] for it in project.containers("catalog")]
    report.check(PART, "catalogs", 2, len(catalogs))
    before = served(project, catalogs)
    # Few requests come over one connection, so to one of the two: the gateway keeps what it has.
    with ThreadPoolExecutor(16) as readers:
        list(readers.map(lambda number: project.client.get(f"/products/{number}"), range(3, 190)))
    counts = [after - earlier for after, earlier in zip(served(project, catalogs), before, strict=True)]
    report.check(PART, "requests that each catalog serves, of 187 by 16 at once", "> 18", counts, min(counts) > 18)
    with under_load(project, PART) as load:
        for number, catalog in enumerate(catalogs, 1):
            failures, sent = Counter(load.failures), load.sent
            project.docker("restart", catalog)
            until("it is healthy again", lambda: all_healthy(project), 60)
            load.go_on(50)
            seen = dict(load.failures - failures)
            report.check(PART, f"catalog {number} restarted: failed of {load.sent - sent} requests", {}, seen)
    sync(project)


def all_healthy(project: Project) -> bool:
    return all(it["State"]["Health"]["Status"] == "healthy" for it in project.containers("catalog"))


def served(project: Project, containers: list[str]) -> list[float]:
    """How many requests for products each has answered."""
    return [float(project.docker("exec", it, "python", "-c", SERVED)) for it in containers]


def sync(project: Project) -> None:
    """Two workers, one run, each product once."""
    report, client, admin = project.report, project.client, project.client.admin()
    until("two workers", lambda: len(client.get("/sync/status", admin).json()["workers"]) == 2, 60)
    run = client.ended(client.trigger())
    report.check(PART, "a sync run, taken by so many workers", ("succeeded", 1), (run["state"], run["attempt"]))
    ids = client.source_ids()
    report.check(PART, "products of the source, each once", (194, 194), (len(ids), len(set(ids))))
