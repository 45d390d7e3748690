"""A first installation: ready in time, nothing restarted, its own test, the README's tour; what must stay inside."""

import http.client
import re
import time
from functools import partial
from urllib.parse import urlsplit

from tests.k8s.cluster import until
from tests.k8s.release import Release

__all__ = ["inside", "install", "tours"]

HIDDEN = (
    "/internal", "/internal/imports", "/metrics", "/livez", "/auth/livez", "/sync/metrics", "/nothing",
    "//internal", "//livez", "/./internal", "/auth/../internal", "/auth/..//livez", "/products/../metrics",
    "/auth/%2e%2e/internal", "/%2e%2e/livez", "/products/%2e%2e/internal/imports", "/products/..%2finternal",
    "/products/%2e%2e%2finternal", "/products/..;/internal", "/products/..%5cinternal", "/%69nternal", "/INTERNAL",
    "/products%2f..%2flivez", "/docs/../livez", "/docs/%2e%2e/metrics", "/auth//../livez", "/sync/.%2e/livez",
)  # fmt: skip


def install(release: Release) -> None:
    """`helm install --wait` with all bundled parts, and `helm test`."""
    cluster, report = release.cluster, release.report
    began = time.monotonic()
    said = release.helm("install", "--wait", "--timeout", "180s")
    seconds = time.monotonic() - began
    report.check("1 install", "ready (goal: 60 s)", "< 120 s", f"{seconds:.0f} s", seconds < 120)
    report.check("1 install", "containers restarted", {}, cluster.restarts(release.namespace))
    warnings = [
        line for line in said.splitlines() if "would violate" in line or re.match(r"W\d{4} |.*[Ww]arning:", line)
    ]
    report.check("1 install", "warnings of the API server", [], warnings)
    tested = cluster.helm("test", release.name, "-n", release.namespace, "--logs", "--timeout", "150s", timeout=180)
    report.check(
        "1 install", "helm test", "Succeeded", "Succeeded" if "Phase:          Succeeded" in tested else tested
    )
    for host in (release.host, release.route_host):
        until(f"the gateway leads {host} to it", partial(release.answers, host), 30)


def tours(release: Release, host: str, way: str) -> None:
    """The README's tour through one way in."""
    output = release.tour(host)
    wanted = ('"role":"admin"', '"total":', '"price":999.99', '"price":8.99', " 204", '"run_id"', '"sources"')
    missing = [text for text in wanted if text not in output]
    problems = output.count("application/problem+json")
    release.report.check("1 install", f"the README's tour through {way}", "all of it", missing or "all of it")
    release.report.check("1 install", f"problems in it through {way}", 0, problems)
    release.report.check("1 install", f"healthy services through {way}", 3, output.count('"status":"ok","service"'))


def inside(release: Release, host: str, way: str) -> None:
    """What is not public is not there, however it is spelled."""
    reached = {path: status for path in HIDDEN if (status := raw_status(release, host, path)) not in (400, 404, 422)}
    release.report.check("1 install", f"{len(HIDDEN)} spellings of inner paths through {way}", {}, reached)


def raw_status(release: Release, host: str, path: str) -> int:
    """The status of a path that is sent as it is."""
    address = urlsplit(release.cluster.gateway_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=10)
    try:
        connection.putrequest("GET", path, skip_host=True)
        connection.putheader("Host", host)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()
