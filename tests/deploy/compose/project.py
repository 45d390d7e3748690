"""docker compose as it is found on PATH, on a clean clone, with a project name and a port of its own."""

import json
import os
import re
import shlex
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy import commands
from tests.deploy.client import Client
from tests.deploy.commands import ROOT
from tests.deploy.report import Report

__all__ = ["MIGRATIONS", "SERVICES", "Project", "project", "service_of"]

SERVICES = ("auth", "catalog", "sync-api", "sync-worker", "sync-scheduler", "gateway", "dummyjson", "redis", "postgres")
MIGRATIONS = ("migrate-auth", "migrate-catalog", "migrate-sync")
SETTINGS = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE))
Container = dict[str, Any]


@dataclass(frozen=True)
class Project:
    """One compose project; `folder` is its clone, which nobody but this run knows."""

    report: Report
    folder: Path
    name: str
    port: int

    @property
    def client(self) -> Client:
        return Client(f"http://127.0.0.1:{self.port}", "localhost")

    def run(
        self, *command: str, timeout: float = 120, check: bool = True, settings: Mapping[str, str] | None = None
    ) -> str:
        """Run in the clone; no setting is passed on but `settings`."""
        environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        environment |= {"COMPOSE_PROJECT_NAME": self.name, "PORT": str(self.port)} | dict(settings or {})
        return commands.run(*command, timeout=timeout, check=check, cwd=self.folder, env=environment)

    def start_script(self, *arguments: str) -> str:
        """Run start-dev.sh from another folder."""
        command = 'cd / && exec sh "$0" "$@"'
        return self.run("sh", "-c", command, f"{self.folder}/start-dev.sh", *arguments, timeout=240)

    def compose(self, *arguments: str, timeout: float = 120, settings: Mapping[str, str] | None = None) -> str:
        return self.run("docker", "compose", *arguments, timeout=timeout, settings=settings)

    def config(self, **settings: str) -> dict[str, Any]:
        """The services of docker-compose.yml with `settings`, as compose reads them."""
        text = self.compose("config", "--format=json", settings=settings)
        services: dict[str, Any] = json.loads(text)["services"]
        return services

    def docker(self, *arguments: str, timeout: float = 60, check: bool = True) -> str:
        return self.run("docker", *arguments, timeout=timeout, check=check)

    def containers(self, service: str = "") -> list[Container]:
        """All of the project or of one service, also those that have ended, as Docker describes them."""
        labels = [f"com.docker.compose.project={self.name}"]
        labels += [f"com.docker.compose.service={service}"] if service else []
        filters = [f"--filter=label={label}" for label in labels]
        found = self.docker("ps", "--all", "--quiet", *filters).split()
        containers: list[Container] = json.loads(self.docker("inspect", *found)) if found else []
        return containers

    def container(self, service: str) -> Container:
        """The one of a service that has one."""
        return self.containers(service)[0]

    def healthy(self) -> list[str]:
        """The services with a healthy container, sorted."""
        states = {service_of(it): it["State"].get("Health", {}) for it in self.containers()}
        return sorted(name for name, health in states.items() if health.get("Status") == "healthy")

    def left(self) -> list[str]:
        """Whatever of the project still exists."""
        mine = f"--filter=label=com.docker.compose.project={self.name}"
        kinds = (("ps", "--all"), ("volume", "ls"), ("network", "ls"))
        return [f"{kind[0]} {it}" for kind in kinds for it in self.docker(*kind, "--quiet", mine).split()]

    def remove(self) -> None:
        """Remove containers, volumes and networks, whatever state they are in."""
        self.docker("compose", "down", "--volumes", "--remove-orphans", "--timeout=5", check=False)


@contextmanager
def project(report: Report) -> Iterator[Project]:
    """A project on a clone of the last commit; nothing of it is left at the end."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "clone"
        # As a careful user's clone: no file in it is readable for anybody else.
        clone = f'umask 077 && exec git clone --quiet --depth=1 {shlex.quote(ROOT.as_uri())} "$0"'
        commands.run("sh", "-c", clone, str(folder))
        made = Project(report, folder, f"products-test-{os.getpid()}", free_port())
        try:
            yield made
        finally:
            report.say("removing the project")
            made.remove()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def service_of(container: Container) -> str:
    """The name of its service."""
    name: str = container["Config"]["Labels"]["com.docker.compose.service"]
    return name
