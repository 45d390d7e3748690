"""An upgrade from the last version, chart and images out of git's history."""

import re
import tarfile
import tempfile
from pathlib import Path

from tests.deploy.commands import ROOT, run, until
from tests.deploy.images import build, repositories
from tests.deploy.k8s.release import Release
from tests.deploy.k8s.rolling_updates import under_load

__all__ = ["last_version"]

PART = "last-version"


def last_version(release: Release) -> None:
    """The last version, chart and images out of git's history, is upgraded to this one under load."""
    cluster, report = release.cluster, release.report
    found = find_last_version()
    if found is None:
        report.note(PART, "helm upgrade from it", "there is none: this version is the first")
        return
    version, commit = found
    new, release.tag = release.tag, f"last-{release.tag}"
    with tempfile.TemporaryDirectory() as scratch:
        run("git", "archive", f"--output={scratch}/tree.tar", commit)
        with tarfile.open(f"{scratch}/tree.tar") as tar:
            tar.extractall(scratch, filter="data")
        tree = Path(scratch)
        cluster.load([build(repository, release.tag, tree) for repository in repositories(tree)])
        release.helm("install", "--wait", "--timeout", "180s", chart=f"{scratch}/helm/products-api")
    client = release.client
    until("the gateway leads to it", client.healthy, 30)
    client.register()
    until("the first sync is done", lambda: client.total() == 194, 90)

    def change() -> None:
        release.tag = new
        release.helm("upgrade", "--wait", "--timeout", "300s", timeout=330)

    under_load(release, PART, f"helm upgrade from {version}", change)
    report.check(PART, "products of the source, each once", 194, len(set(client.source_ids())))
    report.check(PART, "a sync after it", "succeeded", client.ended(client.trigger())["state"])


def find_last_version() -> tuple[str, str] | None:
    """Version and commit of the chart just before its version was raised to this one."""
    file = "helm/products-api/Chart.yaml"
    now = chart_version((ROOT / file).read_text("utf-8"))
    for commit in run("git", "log", "--format=%H", "--", file).split():
        then = chart_version(run("git", "show", f"{commit}^:{file}", check=False))
        if then and then != now:
            return then, f"{commit}^"
    return None


def chart_version(text: str) -> str:
    match = re.search(r"^version: (.+)$", text, re.M)
    return match[1] if match else ""
