"""The second start: the start script, what was kept, and an end that leaves nothing."""

import time
from pathlib import Path

from tests.compose.stack import SERVICES, Stack, service_of

__all__ = ["down_and_up"]


def down_and_up(stack: Stack) -> None:
    """`down` keeps the data, start-dev.sh brings it back, `down --volumes` leaves nothing."""
    report, part = stack.report, "7 down and up"
    number = stack.create("Kept")
    total = stack.get("/products?limit=1").json()["total"]
    stack.compose("down")
    kinds = sorted(it.split()[0] for it in stack.left())
    report.check(part, "kept by down", ["volume", "volume"], kinds)
    began = time.monotonic()
    said = stack.run("sh", f"{stack.folder}/start-dev.sh", cwd=Path("/"), timeout=240)
    seconds = time.monotonic() - began
    report.check(part, "start-dev.sh from another folder, images present", "< 60 s", f"{seconds:.0f} s", seconds < 60)
    report.check(part, "it tells the address", True, f"{stack.url}/docs" in said)
    healthy = [it for it in stack.containers() if it["State"].get("Health", {}).get("Status") == "healthy"]
    report.check(part, "healthy services", sorted(SERVICES), sorted(map(service_of, healthy)))
    kept = stack.get(f"/products/{number}").json().get("name")
    report.check(part, "a product that was made before", "Kept", kept)
    report.check(part, "products", total, stack.get("/products?limit=1").json()["total"])
    me = stack.get("/auth/me", headers=stack.admin()).json()
    report.check(part, "the admin logs in", "admin", me.get("role"))
    stack.run("sh", f"{stack.folder}/start-dev.sh", "down")
    report.check(part, "containers after start-dev.sh down", 0, len(stack.containers()))
    stack.compose("down", "--volumes")
    report.check(part, "left by down --volumes", [], stack.left())
