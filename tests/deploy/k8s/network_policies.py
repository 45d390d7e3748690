"""Who reaches whom: every pair of our pods, a stranger, and the outside, against the table of allowed connections."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

from tests.deploy.commands import until
from tests.deploy.k8s.release import APIS, Release

__all__ = ["network_policies"]

PART = "network-policies"

PORTS = dict.fromkeys(APIS, 8000) | {"gateway": 8000, "dummyjson": 8080, "postgres": 5432, "redis": 6379}
PROCESSES = (*APIS, "sync-worker", "sync-scheduler")
# Who may reach the port of whom; all else is denied.
ALLOWED = (
    {("gateway", api) for api in APIS}
    | {(one, "auth") for one in ("catalog", "sync-api", "sync-worker", "sync-scheduler")}
    | {("sync-worker", "catalog"), ("sync-worker", "dummyjson"), ("sync-worker", "outside")}
    | {(one, store) for one in PROCESSES for store in ("postgres", "redis")}
    | {("prometheus", f"{one} metrics") for one in (*PROCESSES, "gateway")}
)
PYTHON = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def reach(target):
    try:
        socket.create_connection((target[1], target[2]), 2).close()
        return target[0]
    except OSError as error:
        # A refusal comes from the other side, so no policy is between.
        return target[0] if isinstance(error, ConnectionRefusedError) else None
targets = json.loads(sys.argv[1])
print(json.dumps([name for name in ThreadPoolExecutor(32).map(reach, targets) if name]))
"""
BASH = """
for target in "$@"; do
  IFS=, read -r name address port <<<"$target"
  (timeout 2 bash -c "echo >/dev/tcp/$address/$port" 2>/dev/null && echo "$name") &
done; wait
"""
STRANGER = """
apiVersion: v1
kind: Pod
metadata: {name: stranger}
spec:
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: stranger
      image: IMAGE
      command: [sleep, "600"]
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"""


def network_policies(release: Release, stranger: str, prometheus: str) -> None:
    """All pairs; `stranger` and `prometheus` are namespaces, the second of which may scrape."""
    cluster, report = release.cluster, release.report
    peers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": prometheus}}}]
    release.helm("upgrade", "--wait", "--timeout", "120s", networkPolicy={"prometheus": peers})
    for namespace in (stranger, prometheus):
        manifest = STRANGER.replace("IMAGE", f"products-api:{release.tag}")
        cluster.apply(namespace, manifest)
        cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/stranger", "--timeout=60s")
    names = (*PROCESSES, "gateway", "dummyjson", "postgres", "redis")
    pods = {name: cluster.pods(release.namespace, name)[0] for name in names}
    sources = {name: (release.namespace, pod["metadata"]["name"]) for name, pod in pods.items()}
    sources |= {"stranger": (stranger, "stranger"), "prometheus": (prometheus, "stranger")}
    targets = [(name, pods[name]["status"]["podIP"], port) for name, port in PORTS.items()]
    targets += [(f"{name} metrics", pods[name]["status"]["podIP"], 9100) for name in (*PROCESSES, "gateway")]
    api = cluster.get("default", "service", "kubernetes")[0]["spec"]
    targets.append(("Kubernetes API", api["clusterIP"], 443))
    if outside := os.environ.get("OUTSIDE"):
        address, _, port = outside.partition(":")
        targets.append(("outside", address, int(port)))
    else:
        report.note(PART, "to the outside", "not checked: OUTSIDE=address:port of a public service is not set")

    def expected(source: str) -> list[str]:
        allowed = {target for target, *_ in targets if (source, target) in ALLOWED}
        # A pod always reaches itself; nothing of ours says where pods of other namespaces may go.
        free = source in ("stranger", "prometheus")
        others = {"outside", "Kubernetes API"} if free else {source, f"{source} metrics"}
        return sorted(allowed | {name for name, *_ in targets if name in others})

    def seen(source: str) -> list[str]:
        namespace, pod = sources[source]
        return sorted(reach(release, namespace, pod, source in ("postgres", "redis"), targets))

    # Rules of a changed policy take a moment to be everywhere.
    until("Prometheus gets through", lambda: seen("prometheus") == expected("prometheus"), 30)
    with ThreadPoolExecutor(4) as pool:
        for source, found in zip(sources, pool.map(seen, sources), strict=True):
            report.check(PART, f"{source} reaches, of {len(targets)}", show(expected(source)), show(found))


def show(names: list[str]) -> str:
    return ", ".join(names) or "nothing"


def reach(release: Release, namespace: str, pod: str, bash: bool, targets: list[tuple[str, str, int]]) -> list[str]:
    """The names of the targets that a pod gets through to."""
    command = ["exec", "-n", namespace, pod, "--"]
    if bash:
        arguments = (",".join(map(str, target)) for target in targets)
        return release.cluster.kubectl(*command, "bash", "-c", BASH, "probe", *arguments).splitlines()
    found: list[str] = json.loads(release.cluster.kubectl(*command, "python3", "-c", PYTHON, json.dumps(targets)))
    return found
