"""What an operator sees who makes a mistake, as the chart's README lists it."""

from collections.abc import Callable
from functools import partial

from tests.deploy.commands import Failed, until
from tests.deploy.k8s.cluster import CHART
from tests.deploy.k8s.release import Release

__all__ = ["misconfiguration"]

PART = "misconfiguration"


def misconfiguration(release: Release) -> None:
    """A Secret that is missing, an image that is nowhere, a wrong password, a server that is away, no permission."""
    cluster, report = release.cluster, release.report
    database = f"postgresql://catalog_svc:wrong@{release.name}-postgres:5432/products"
    cluster.secret(release.namespace, "wrong", DATABASE_URL=database)
    cluster.secret(release.namespace, "away", DATABASE_URL=database.replace("-postgres", "-nothing"))
    release.helm(
        "install",
        auth={"database": {"existingSecret": "nowhere"}},
        catalog={"database": {"existingSecret": "wrong"}},
        sync={"database": {"existingSecret": "away"}},
        gateway={"image": {"tag": "missing"}},
    )
    expected = {
        "pod's event": {"auth": 'secret "nowhere" not found', "gateway": "products-api-gateway:missing"},
        "Job's log": {
            "migrate-catalog": "PostgreSQL refuses the password in DATABASE_URL: correct it",
            "migrate-sync": "waiting for PostgreSQL",
        },
    }
    for place, find in (("pod's event", events), ("Job's log", logs)):
        for component, text in expected[place].items():
            seen = eventually(text, partial(find, release, component))
            report.check(PART, f"{place} of {component}", text, seen)
    command = ["install", "other", CHART, "-n", release.namespace, "--kube-as-user", "nobody"]
    try:
        output = cluster.helm(*command)
    except Failed as error:
        output = str(error)
    forbidden = 'is forbidden: User "nobody" cannot' in output
    report.check(PART, "helm install without permission", "is forbidden", "is forbidden" if forbidden else output)
    restarted = {name for name in cluster.restarts(release.namespace) if "-migrate-" not in name}
    report.check(PART, "pods that crash", set(), restarted)


def eventually(text: str, find: Callable[[], str]) -> str:
    """The text as soon as it is found."""
    try:
        return until("it appears", lambda: text if text in find() else "")
    except Failed:
        return "not found"


def events(release: Release, component: str) -> str:
    """The messages of all events of the pods of a component."""
    name = f"{release.name}-{component}-"
    found = release.cluster.get(release.namespace, "events")
    return "\n".join(it["message"] for it in found if it["involvedObject"]["name"].startswith(name))


def logs(release: Release, component: str) -> str:
    chosen = f"app.kubernetes.io/component={component}"
    return release.cluster.kubectl("logs", "-n", release.namespace, "-l", chosen, "--tail=-1", check=False)
