"""Tries the chart on a real cluster: `python -m tests.k8s`, or `make k8s-test`."""

import argparse
import os
import sys
import time
from collections.abc import Callable

from tests.k8s import faults, install, lifecycle, mistakes, network, rolling, scaling
from tests.k8s.cluster import Cluster, Failed
from tests.k8s.machine import Machine, throttled_pods
from tests.k8s.release import Release, build_images
from tests.k8s.report import Report

TEXT = """
Works on the cluster of KUBECONFIG, in namespaces of its own that are gone afterwards.
Needs docker, helm, kubectl and curl on PATH.
Environment:
  IMAGE_LOAD   command that brings images to the nodes, given their names (kind load docker-image)
  GATEWAY_URL  where the cluster's Ingress controller and Gateway answer (http://127.0.0.1:30080)
  GATEWAY      namespace/name of the Gateway for HTTPRoutes (the first there is)
  OUTSIDE      address:port of a public service, to see who gets out (not checked)
  SCENARIOS    which of 1 to 9, such as 1,5 (all)
  SHORT        1: installation and upgrades alone
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.k8s",
        description=__doc__,
        epilog=TEXT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    short = os.environ.get("SHORT", "") not in ("", "0")
    chosen = set((os.environ.get("SCENARIOS") or ("1,2,8" if short else "1,2,3,4,5,6,7,8,9")).split(","))
    cluster = Cluster()
    report = Report(Machine(throttled_pods(cluster)))
    try:
        scenarios(cluster, report, chosen, short)
    except (Failed, KeyboardInterrupt) as error:
        report.check("harness", "went through", "to its end", str(error) or type(error).__name__, False)
    finally:
        report.say("deleting the namespaces")
        cluster.clean()
    print(f"{report}\n\n{len(report.rows)} rows, {report.failed} failed, {time.monotonic() - report.began:.0f} s")
    return 1 if report.failed else 0


def scenarios(cluster: Cluster, report: Report, chosen: set[str], short: bool) -> None:
    """One release goes through most of it; a second one, with servers from elsewhere, comes beside it."""
    old, new = f"test-{os.getpid()}-1", f"test-{os.getpid()}-2"

    def part(number: str, what: str, *steps: Callable[[], object]) -> None:
        if number not in chosen:
            return
        began = time.monotonic()
        for step in steps:
            try:
                step()
            except Exception as error:
                # The table tells all, whatever went wrong.
                said = f"{type(error).__name__}: {error}"[:600].replace("\n", " ")
                report.check(f"{number} {what}", "went through", "to its end", said, False)
                break
        report.note(f"{number} {what}", "took", f"{time.monotonic() - began:.0f} s")

    report.say("building and loading images")
    images = build_images(cluster, old, new)
    cluster.load(images)
    report.note("images", "built and loaded", f"{len(images)} in {time.monotonic() - report.began:.0f} s")
    first = Release(cluster, report, cluster.namespace("one"), old)
    install.install(first)
    tour = [lambda: install.tours(first, first.host, "Ingress")]
    part("1", "install", *tour, lambda: install.inside(first, first.host, "Ingress"),
         lambda: install.inside(first, first.route_host, "HTTPRoute"))  # fmt: skip
    upgrade = [lambda: rolling.upgrade(first, new)]
    if not short:
        upgrade += [
            lambda: rolling.restarts(first),
            lambda: rolling.deletions(first),
            lambda: rolling.rollback(first, old),
        ]
    part("2", "upgrade", *upgrade)
    part("4", "faults", lambda: faults.faults(first))
    part("5", "network", lambda: network.network(first, cluster.namespace("stranger"), cluster.namespace("monitor")))
    part("6", "HPA", lambda: scaling.scaling(first))
    second = Release(cluster, report, cluster.namespace("two"), old, replicas=1)
    third = Release(cluster, report, cluster.namespace("three"), old, name="products-api")
    part(
        "7",
        "external",
        lambda: lifecycle.external(second, cluster.namespace("elsewhere")),
        lambda: lifecycle.uninstall(first),
        lambda: lifecycle.readme(third),
        lambda: lifecycle.uninstall(second),
        lambda: lifecycle.uninstall(third),
    )
    fourth = Release(cluster, report, cluster.namespace("four"), old)
    part("8", "last version", lambda: lifecycle.previous(fourth))
    fifth = Release(cluster, report, cluster.namespace("five"), old, replicas=1)
    part("9", "mistakes", lambda: mistakes.mistakes(fifth))


if __name__ == "__main__":
    sys.exit(main())
