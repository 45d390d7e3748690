"""The production example fits a PostgreSQL as it comes: 100 connections, of which superusers keep 3."""

import re

from stack import services
from tests.helm.render import CHART, named, only, render

FOR_SERVICES = 100 - 3
APIS = set(services.APIS.values())
BACKGROUND = services.PROGRAMS.keys() - APIS
TEXT = (CHART / "ci/02-production-values.yaml").read_text("utf-8")


def connections(*arguments: str) -> int:
    """The most that all pods have together during an upgrade, when each Deployment has one pod more than it shall."""
    manifests = render("02-production", *arguments)
    sizes = {int(it["data"]["DB_POOL_SIZE"]) for it in only(manifests, "ConfigMap")}
    pods = {name: int(it["spec"]["replicas"]) + 1 for name, it in named(manifests, "Deployment").items()}
    assert len(sizes) == 1
    assert pods.keys() == {*APIS, *BACKGROUND}
    assert {it["spec"]["strategy"]["rollingUpdate"]["maxSurge"] for it in only(manifests, "Deployment")} == {1}
    # Two pools and one connection to ask whether the server answers; a migration holds a lock beside its work.
    of_apis = sum(pods[name] for name in APIS) * (2 * sizes.pop() + 1)
    return of_apis + sum(pods[name] for name in BACKGROUND) * 2 + len(only(manifests, "Job")) * 2


def test_the_example_fits_and_says_how() -> None:
    assert connections() <= FOR_SERVICES
    assert f"That makes {connections()}." in TEXT.replace("\n# ", " ")


def test_the_defaults_would_not_fit() -> None:
    """Which is why the example says a number."""
    assert connections("--set", "global.settings.DB_POOL_SIZE=8") > FOR_SERVICES


def test_the_readme_has_the_same_numbers() -> None:
    readme = (CHART / "README.md").read_text("utf-8")
    shown = re.search(r"(\d+) x \((\d+) \+ 3\) \+ 2 x \((\d+) \+ 2\) \+ 2 x 3 = (\d+)", readme)
    assert shown
    each, apis, others, total = map(int, shown.groups())
    assert each * (apis + 3) + 2 * (others + 2) + 2 * 3 == total == connections()
    assert f"it would be {connections('--set', 'global.settings.DB_POOL_SIZE=8')}" in readme
