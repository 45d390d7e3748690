"""The figures beside the rows of compose-test and k8s-test."""

from dataclasses import dataclass, field

from tests.deploy.k8s.cluster import Cluster
from tests.deploy.k8s.throttling import throttled_pods
from tests.deploy.machine import Machine
from tests.deploy.report import Report

LINES = """\
# TYPE container_cpu_cfs_periods_total counter
container_cpu_cfs_periods_total{{container="",id="/pod",namespace="ours",pod="shop-catalog-1"}} 900 1
container_cpu_cfs_periods_total{{container="catalog",id="/a",namespace="ours",pod="shop-catalog-1"}} {periods} 1
container_cpu_cfs_throttled_periods_total{{container="catalog",id="/a",namespace="ours",pod="shop-catalog-1"}} {held} 1
container_cpu_cfs_periods_total{{container="auth",id="/b",namespace="ours",pod="shop-auth-1"}} 100 1
container_cpu_cfs_throttled_periods_total{{container="auth",id="/b",namespace="ours",pod="shop-auth-1"}} 1 1
container_cpu_cfs_periods_total{{container="x",id="/c",namespace="theirs",pod="x"}} 100 1
container_cpu_cfs_throttled_periods_total{{container="x",id="/c",namespace="theirs",pod="x"}} 100 1
"""


@dataclass
class Kubelet(Cluster):
    """A cluster whose only node tells `figures`."""

    figures: str = ""
    namespaces: list[str] = field(default_factory=lambda: ["ours"])

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 120, check: bool = True) -> str:
        return self.figures if "--raw" in arguments else '{"items": [{"metadata": {"name": "node"}}]}'


def test_throttled_pods_are_named_with_the_share_of_the_time_since_the_last_look() -> None:
    cluster = Kubelet(figures=LINES.format(periods=100, held=40))
    tell = throttled_pods(cluster)
    assert tell() == "throttled: shop-catalog-1 40%"
    cluster.figures = LINES.format(periods=300, held=60)
    assert tell() == "throttled: shop-catalog-1 40%", "asked again at once it need not ask the kubelet"


def test_a_cluster_that_tells_nothing_fails_no_run() -> None:
    assert throttled_pods(Kubelet(figures=""))() == ""


def test_every_row_has_the_machine_beside_it() -> None:
    report = Report(Machine(lambda: "throttled: a 9%"))
    report.check("1 part", "it is", 1, 1)
    report.note("1 part", "a figure", 7)
    lines = str(report).splitlines()
    assert lines[0].split(" | ")[-1] == "machine meanwhile |"
    assert all("throttled: a 9%" in line and line.count("|") == lines[0].count("|") for line in lines[2:])
