"""Tries docker compose for real: `python -m tests.deploy.compose`, or `make compose-test`."""

import sys

from tests.deploy import scenarios
from tests.deploy.compose import cold_start, down_and_up, hardening, restart, scale, settings, tour
from tests.deploy.compose.project import project
from tests.deploy.machine import Machine
from tests.deploy.report import Report
from tests.deploy.scenarios import Scenario

__all__ = ["SCENARIOS"]

TEXT = """
Works on the Docker engine that `docker` talks to, with a clone of the last commit, in a compose project and on a port
of its own; all of it is gone afterwards, but the images stay.
Needs docker with compose 2, git, bash and curl on PATH, and two cores without much other work.
Environment:
"""
STARTED = ("cold-start",)
WITH_ADMIN = ("tour",)
# In the order in which a user meets them.
SCENARIOS = (
    Scenario("cold-start", cold_start.cold_start, short=True),
    Scenario("tour", tour.tour, STARTED, short=True),
    Scenario("hardening", hardening.hardening, WITH_ADMIN, short=True),
    Scenario("settings", settings.settings, short=True),
    Scenario("restart", restart.restarts, WITH_ADMIN),
    Scenario("kill", restart.kills, WITH_ADMIN),
    Scenario("scale", scale.scale, WITH_ADMIN),
    Scenario("down-and-up", down_and_up.down_and_up, WITH_ADMIN, short=True),
)


def main() -> int:
    program = "python -m tests.deploy.compose"
    report = Report(Machine())
    return scenarios.main(SCENARIOS, report, project, program=program, description=__doc__, text=TEXT)


if __name__ == "__main__":
    sys.exit(main())
