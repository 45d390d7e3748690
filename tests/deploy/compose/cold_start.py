"""The first start of a clean clone."""

import time

from tests.deploy.commands import until
from tests.deploy.compose.project import MIGRATIONS, SERVICES, Project, service_of
from tests.deploy.images import REPOSITORIES

__all__ = ["cold_start"]

PART = "cold-start"


def cold_start(project: Project) -> None:
    """`docker compose up --build --detach --wait` without an .env; all services, all products."""
    report = project.report
    before = images(project)
    began = time.monotonic()
    project.compose("build", timeout=420)
    built = time.monotonic() - began
    kept = len(set(images(project)) & set(before))
    report.note(PART, "build", f"{built:.0f} s, {kept} of {len(REPOSITORIES)} images came from the builder's cache")
    began = time.monotonic()
    project.compose("up", "--build", "--detach", "--wait", timeout=240)
    seconds = time.monotonic() - began
    report.check(PART, "up --build --wait with images built", "< 60 s", f"{seconds:.0f} s", seconds < 60)
    report.check(PART, "healthy services", sorted(SERVICES), project.healthy())
    ended = {
        name: (it["State"]["Status"], it["State"]["ExitCode"])
        for it in project.containers()
        if (name := service_of(it)) not in SERVICES
    }
    report.check(PART, "migrations", dict.fromkeys(sorted(MIGRATIONS), ("exited", 0)), dict(sorted(ended.items())))
    began = time.monotonic()
    until("194 products", lambda: project.client.total() == 194, 30)
    report.note(PART, "194 products after it", f"{time.monotonic() - began:.1f} s")
    restarted = {service_of(it): it["RestartCount"] for it in project.containers() if it["RestartCount"]}
    report.check(PART, "containers restarted", {}, restarted)


def images(project: Project) -> list[str]:
    """The ids of our images that there are."""
    return [project.docker("image", "ls", "--quiet", f"{name}:latest").strip() or "none" for name in REPOSITORIES]
