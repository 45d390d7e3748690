"""Which pods their CPU limit held back, from the kubelets' counters."""

import json
import re
import time
from collections.abc import Callable, Iterable

from tests.deploy.commands import Failed
from tests.deploy.k8s.cluster import Cluster

__all__ = ["throttled_pods"]

PERIODS = re.compile(r'^container_cpu_cfs_(throttled_)?periods_total\{(?=[^}]*container="[^"])([^}]*)\} (\S+)')
# The kubelet reads its counters about every 10 s.
EVERY_SECONDS = 10.0
# Less than a twentieth of the periods is what every start of a process takes.
WORTH_TELLING = 0.05


def throttled_pods(cluster: Cluster) -> Callable[[], str]:
    """Tells the share of periods in which each pod of our namespaces was held back by its CPU limit."""
    seen: dict[str, tuple[float, float]] = {}
    asked, text = float("-inf"), ""

    def tell() -> str:
        nonlocal asked, text
        if time.monotonic() < asked + EVERY_SECONDS:
            return text
        asked = time.monotonic()
        found = throttling(cluster)
        shares = {
            pod: (throttled - seen.get(pod, (0.0, 0.0))[0]) / (periods - seen.get(pod, (0.0, 0.0))[1])
            for pod, (throttled, periods) in found.items()
            if periods > seen.get(pod, (0.0, 0.0))[1]
        }
        seen.update(found)
        shown = [f"{pod} {share:.0%}" for pod, share in sorted(shares.items()) if share > WORTH_TELLING]
        text = f"throttled: {' '.join(shown)}" if shown else ""
        return text

    return tell


def throttling(cluster: Cluster) -> dict[str, tuple[float, float]]:
    """Periods throttled and periods in all, by pod; nothing where the kubelet does not tell."""
    counts: dict[str, list[float]] = {}
    for line in _metrics(cluster):
        if match := PERIODS.match(line):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', match[2]))
            if labels.get("namespace") in cluster.namespaces:
                counts.setdefault(labels["pod"], [0.0, 0.0])[0 if match[1] else 1] += float(match[3])
    return {pod: (throttled, periods) for pod, (throttled, periods) in counts.items()}


def _metrics(cluster: Cluster) -> Iterable[str]:
    try:
        nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
        for node in nodes:
            path = f"/api/v1/nodes/{node['metadata']['name']}/proxy/metrics/cadvisor"
            yield from cluster.kubectl("get", "--raw", path, timeout=10).splitlines()
    except (Failed, ValueError):
        # Not every cluster lets us ask its kubelets, and a figure is not worth a failed run.
        return
