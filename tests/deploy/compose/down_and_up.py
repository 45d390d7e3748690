"""The second start: the start script, what was kept, and an end that leaves nothing."""

import time

from tests.deploy.compose.project import SERVICES, Project

__all__ = ["down_and_up"]

PART = "down-and-up"


def down_and_up(project: Project) -> None:
    """`down` keeps the data, start-dev.sh brings it back, `down --volumes` leaves nothing."""
    report, client = project.report, project.client
    number, total = client.create("Kept"), client.total()
    project.compose("down")
    report.check(PART, "kept by down", ["volume", "volume"], sorted(it.split()[0] for it in project.left()))
    began = time.monotonic()
    output = project.start_script()
    seconds = time.monotonic() - began
    report.check(PART, "start-dev.sh from another folder, images present", "< 60 s", f"{seconds:.0f} s", seconds < 60)
    report.check(PART, "it prints the address", True, f"{client.url}/docs" in output)
    report.check(PART, "healthy services", sorted(SERVICES), project.healthy())
    report.check(PART, "a product that was made before", "Kept", client.get(f"/products/{number}").json().get("name"))
    report.check(PART, "products", total, client.total())
    report.check(PART, "the admin logs in", "admin", client.get("/auth/me", client.admin()).json().get("role"))
    project.start_script("down")
    report.check(PART, "containers after start-dev.sh down", 0, len(project.containers()))
    project.compose("down", "--volumes")
    report.check(PART, "left by down --volumes", [], project.left())
