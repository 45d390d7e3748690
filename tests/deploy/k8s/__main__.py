"""Tries the chart on a real cluster: `python -m tests.deploy.k8s`, or `make k8s-test`."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from tests.deploy import scenarios
from tests.deploy.images import build_releases
from tests.deploy.k8s import autoscaling, install, misconfiguration, network_policies, pod_kills, rolling_updates
from tests.deploy.k8s.cluster import Cluster
from tests.deploy.k8s.external_servers import external_servers
from tests.deploy.k8s.last_version import last_version
from tests.deploy.k8s.manual_scaling import manual_scaling
from tests.deploy.k8s.readme_commands import readme_commands
from tests.deploy.k8s.release import Release
from tests.deploy.k8s.throttling import throttled_pods
from tests.deploy.k8s.uninstall import uninstall
from tests.deploy.machine import Machine
from tests.deploy.report import Report
from tests.deploy.scenarios import Scenario

__all__ = ["SCENARIOS"]

TEXT = """
Works on the cluster of KUBECONFIG, in namespaces of its own that are gone afterwards.
Needs docker, helm, kubectl and curl on PATH.
Environment:
  IMAGE_LOAD   command that brings images to the nodes, given their names (kind load docker-image)
  GATEWAY_URL  where the cluster's Ingress controller and Gateway answer (http://127.0.0.1:30080)
  GATEWAY      namespace/name of the Gateway for HTTPRoutes (the first there is)
  OUTSIDE      address:port of a public service, to see who gets out (not checked)
"""


@dataclass
class Trial:
    """A cluster with images of two releases; one release goes through most scenarios."""

    cluster: Cluster
    report: Report
    old: str
    new: str

    def release(self, suffix: str, name: str = "shop", replicas: int = 2) -> Release:
        """Another release, of the older images, in a namespace of its own."""
        return Release(self.cluster, self.report, self.cluster.namespace(suffix), self.old, name, replicas)

    @cached_property
    def first(self) -> Release:
        return self.release("one")

    def network_policies(self) -> None:
        namespaces = self.cluster.namespace("stranger"), self.cluster.namespace("monitor")
        network_policies.network_policies(self.first, *namespaces)

    def external_servers(self) -> None:
        """Beside the first release, which then goes."""
        second = self.release("two", replicas=1)
        external_servers(second, self.cluster.namespace("elsewhere"))
        for release in (self.first, second):
            uninstall(release, "external-servers")


INSTALLED = ("install",)
# In the order in which an operator meets them; the first release ends with `external-servers`.
SCENARIOS = (
    Scenario[Trial]("install", lambda it: install.install(it.first), short=True),
    Scenario[Trial]("upgrade", lambda it: rolling_updates.upgrade(it.first, it.new), INSTALLED, short=True),
    Scenario[Trial]("same-again", lambda it: rolling_updates.same_again(it.first), ("upgrade",), short=True),
    Scenario[Trial]("rollout-restart", lambda it: rolling_updates.restarts(it.first), INSTALLED),
    Scenario[Trial]("pod-deletion", lambda it: rolling_updates.deletions(it.first), INSTALLED),
    Scenario[Trial]("rollback", lambda it: rolling_updates.rollback(it.first, it.old), ("upgrade",)),
    Scenario[Trial]("pod-kills", lambda it: pod_kills.pod_kills(it.first), INSTALLED),
    Scenario[Trial]("network-policies", Trial.network_policies, INSTALLED),
    Scenario[Trial]("autoscaling", lambda it: autoscaling.autoscaling(it.first), INSTALLED),
    Scenario[Trial]("manual-scaling", lambda it: manual_scaling(it.first), INSTALLED),
    Scenario[Trial]("external-servers", Trial.external_servers, INSTALLED),
    Scenario[Trial]("readme", lambda it: readme_commands(it.release("three", name="products-api"))),
    Scenario[Trial]("last-version", lambda it: last_version(it.release("four")), short=True),
    Scenario[Trial]("misconfiguration", lambda it: misconfiguration.misconfiguration(it.release("five", replicas=1))),
)


@contextmanager
def trial(cluster: Cluster, report: Report) -> Iterator[Trial]:
    """Images on the nodes; no namespace of ours is left at the end."""
    old, new = f"test-{os.getpid()}-1", f"test-{os.getpid()}-2"
    try:
        report.say("building and loading images")
        images = build_releases(old, new)
        cluster.load(images)
        report.note("images", "built and loaded", f"{len(images)} in {time.monotonic() - report.began:.0f} s")
        yield Trial(cluster, report, old, new)
    finally:
        report.say("deleting the namespaces")
        cluster.clean()


def main() -> int:
    cluster = Cluster()
    report = Report(Machine(throttled_pods(cluster)))
    return scenarios.main(
        SCENARIOS,
        report,
        lambda report: trial(cluster, report),
        program="python -m tests.deploy.k8s",
        description=__doc__,
        text=TEXT,
    )


if __name__ == "__main__":
    sys.exit(main())
