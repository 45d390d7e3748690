"""The README's commands for Kubernetes."""

from tests.deploy.commands import run
from tests.deploy.k8s.release import Release
from tests.deploy.k8s.uninstall import uninstall
from tests.fixtures.pages import BLOCKS

__all__ = ["readme_commands"]

PART = "readme"


def readme_commands(release: Release) -> None:
    """The README's commands as they stand there, in the namespace of `release`: the defaults, in production mode."""
    script = BLOCKS["kubernetes"].replace("kind load docker-image", release.cluster.image_load)
    script = script.replace("--namespace products", f"--namespace {release.namespace}")
    output = run("bash", "-euo", "pipefail", "-c", script, timeout=400)
    release.report.check(PART, "its commands for Kubernetes", True, "Phase:          Succeeded" in output)
    release.report.check(PART, "containers restarted", {}, release.cluster.restarts(release.namespace))
    uninstall(release, PART)
