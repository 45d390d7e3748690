"""A first installation: ready in time, nothing restarted, its own test, the README's tour; what must stay inside."""

import base64
import json
import re
import time

from tests.deploy.commands import until
from tests.deploy.hidden_paths import check_hidden_paths
from tests.deploy.k8s.release import Release
from tests.deploy.readme import check_tour
from tests.deploy.secrets import check_secrets

__all__ = ["install"]

PART = "install"


def install(release: Release) -> None:
    """`helm install --wait` with all bundled parts, `helm test`, and the tour, which makes the admin."""
    cluster, report = release.cluster, release.report
    began = time.monotonic()
    output = release.helm("install", "--wait", "--timeout", "180s")
    seconds = time.monotonic() - began
    report.check(PART, "ready (goal: 60 s)", "< 120 s", f"{seconds:.0f} s", seconds < 120)
    report.check(PART, "containers restarted", {}, cluster.restarts(release.namespace))
    warnings = [
        line for line in output.splitlines() if "would violate" in line or re.match(r"W\d{4} |.*[Ww]arning:", line)
    ]
    report.check(PART, "warnings of the API server", [], warnings)
    tested = cluster.helm("test", release.name, "-n", release.namespace, "--logs", "--timeout", "150s", timeout=180)
    report.check(PART, "helm test", "Succeeded", "Succeeded" if "Phase:          Succeeded" in tested else tested)
    for client in (release.client, release.route_client):
        until(f"the gateway leads {client.host} to it", client.healthy, 30)
    check_tour(report, PART, release.client, "Ingress")
    check_hidden_paths(report, PART, release.client, "Ingress")
    check_hidden_paths(report, PART, release.route_client, "HTTPRoute")
    secrets(release)


def secrets(release: Release) -> None:
    """Passwords are in Secrets alone: not in pods, configuration or logs."""
    cluster, namespace = release.cluster, release.namespace
    values = {
        base64.b64decode(value).decode("utf-8", "replace")
        for secret in cluster.get(namespace, "secret", "--field-selector=type=Opaque")
        for name, value in secret.get("data", {}).items()
        if re.search("PASSWORD|SECRET", name)
    }
    pods = cluster.pods(namespace)
    logs = [cluster.kubectl("logs", "-n", namespace, pod["metadata"]["name"], "--all-containers") for pod in pods]
    texts = {
        "pods": json.dumps(pods),
        "ConfigMaps": json.dumps(cluster.get(namespace, "configmap")),
        "logs": "".join(logs),
    }
    check_secrets(release.report, PART, values, texts)
