"""What is restarted or killed under load comes back, and what was acknowledged is still there."""

import re
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from tests.deploy.commands import until
from tests.deploy.compose.project import SERVICES, Project
from tests.deploy.compose.traffic import under_load

__all__ = ["kills", "restarts"]

# Requests fail without these; without any other the load goes on as always.
NEEDED = ("gateway", "catalog", "postgres")
PROBLEM = r"\w+ 503 problem: "
BROKEN = rf"{PROBLEM}|(Connect|Read|Write|RemoteProtocol)Error"


def restarts(project: Project) -> None:
    """`docker compose restart` of each service."""
    one_by_one(project, "restart", lambda service: project.compose("restart", service))


def kills(project: Project) -> None:
    """SIGKILL to each. Docker takes its own `docker kill` for a stop by hand, after which nothing is restarted."""

    def kill(service: str) -> None:
        process = project.container(service)["State"]["Pid"]
        script = f"import os; os.kill({process}, 9)"
        project.docker("run", "--rm", "--pid=host", "--user=0", "--entrypoint=python", "products-api", "-c", script)

    one_by_one(project, "kill", kill)


def one_by_one(project: Project, part: str, hit: Callable[[str], object]) -> None:
    """Each service is hit while the others work."""
    with under_load(project, part) as load:
        for service in SERVICES:
            before, sent, began = Counter(load.failures), load.sent, time.monotonic()
            old = project.container(service)["State"]["StartedAt"]
            hit(service)
            until(f"{service} is healthy again", partial(back, project, service, old), 60)
            seconds = time.monotonic() - began
            project.report.check(part, f"{service} healthy again", "< 30 s", f"{seconds:.1f} s", seconds < 30)
            until("reads, writes and logins are served", project.client.serves, 30)
            load.go_on(50)
            judge(project, part, service, load.sent - sent, load.failures - before)


def judge(project: Project, part: str, service: str, sent: int, failed: Counter[str]) -> None:
    """Without a service that requests need none fails; with one, only as a client is told to expect."""
    allowed = BROKEN if service == "gateway" else PROBLEM if service in NEEDED else None
    expected = {BROKEN: "503 problems, broken connections", PROBLEM: "503 problems", None: "none"}[allowed]
    wrong = {text[:90]: count for text, count in failed.items() if not (allowed and re.match(allowed, text))}
    seen = f"{failed.total()} {wrong or ''}".strip()
    project.report.check(part, f"{service}: failed of {sent} requests", expected, seen, not wrong)


def back(project: Project, service: str, old: str) -> bool:
    """Whether a service was started anew and is healthy."""
    state = project.container(service)["State"]
    return bool(state["StartedAt"] != old and state["Health"]["Status"] == "healthy")
