"""docker compose as it is found on PATH, on a clean clone, with a project name and a port of its own."""

import json
import os
import re
import shlex
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.k8s.cluster import ROOT, Cluster, Failed
from tests.k8s.load import login
from tests.k8s.release import Release
from tests.k8s.report import Report

__all__ = ["HOST", "MIGRATIONS", "SERVICES", "Stack", "service_of"]

SERVICES = ("auth", "catalog", "sync-api", "worker", "scheduler", "gateway", "provider", "redis", "postgres")
MIGRATIONS = ("migrate-auth", "migrate-catalog", "migrate-sync")
SETTINGS = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE))
HOST = "localhost"
Container = dict[str, Any]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@dataclass
class Stack:
    """One compose project; `folder` is its clone, which nobody but this run knows."""

    report: Report
    folder: Path
    name: str = field(default_factory=lambda: f"products-test-{os.getpid()}")
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        # As a careful user's clone: no file in it is readable for anybody else.
        clone = f'umask 077 && exec git clone --quiet --depth=1 {shlex.quote(ROOT.as_uri())} "$0"'
        self.run("sh", "-c", clone, str(self.folder), cwd=ROOT)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def release(self) -> Release:
        """The way in, for the checks that the chart gets too; they need no more of a release."""
        return Release(Cluster(gateway_url=self.url), self.report, namespace=HOST, tag="")

    def run(
        self,
        *command: str,
        timeout: float = 120,
        check: bool = True,
        cwd: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> str:
        """Standard output; raises Failed with what the command said. No setting is passed on but `settings`."""
        environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        environment |= {"COMPOSE_PROJECT_NAME": self.name, "PORT": str(self.port)} | dict(settings or {})
        try:
            done = subprocess.run(
                command, env=environment, cwd=cwd or self.folder, timeout=timeout,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
        except FileNotFoundError:
            raise Failed(f"{command[0]} is not on PATH") from None
        except subprocess.TimeoutExpired:
            raise Failed(f"{shlex.join(command)[:200]}: not done within {timeout:g} s") from None
        if check and done.returncode:
            raise Failed(f"{shlex.join(command)[:200]}: {(done.stderr or done.stdout).strip()[-1500:]}")
        return done.stdout

    def compose(self, *arguments: str, timeout: float = 120, settings: Mapping[str, str] | None = None) -> str:
        return self.run("docker", "compose", *arguments, timeout=timeout, settings=settings)

    def docker(self, *arguments: str, timeout: float = 60, check: bool = True) -> str:
        return self.run("docker", *arguments, timeout=timeout, check=check)

    def containers(self, service: str = "") -> list[Container]:
        """All of the project or of one service, also those that have ended, as Docker tells them."""
        labels = [f"com.docker.compose.project={self.name}"]
        labels += [f"com.docker.compose.service={service}"] if service else []
        filters = [f"--filter=label={label}" for label in labels]
        found = self.docker("ps", "--all", "--quiet", *filters).split()
        containers: list[Container] = json.loads(self.docker("inspect", *found)) if found else []
        return containers

    def container(self, service: str) -> Container:
        """The one of a service that has one."""
        return self.containers(service)[0]

    def left(self) -> list[str]:
        """Whatever of the project still exists."""
        mine = f"--filter=label=com.docker.compose.project={self.name}"
        kinds = (("ps", "--all"), ("volume", "ls"), ("network", "ls"))
        return [f"{kind[0]} {it}" for kind in kinds for it in self.docker(*kind, "--quiet", mine).split()]

    def get(self, path: str, method: str = "GET", **more: Any) -> httpx.Response:
        """One request through the gateway."""
        return httpx.request(method, self.url + path, timeout=10, **more)

    def admin(self) -> dict[str, str]:
        """Headers of the tour's admin."""
        return {"Authorization": f"Bearer {login(self.url, HOST)}"}

    def serves(self) -> bool:
        """A read, a login and a write."""
        try:
            self.create("Still here")
            return self.get("/products?limit=1").status_code == 200
        except httpx.HTTPError:
            return False

    def create(self, name: str) -> int:
        """A new product's number."""
        body = {"name": name, "description": "Written by a test", "price": 1, "category": "test"}
        made = self.get("/products", "POST", json=body, headers=self.admin()).raise_for_status()
        number: int = made.json()["id"]
        return number

    def clean(self) -> None:
        """Remove containers, volumes and networks, whatever state they are in."""
        self.docker("compose", "down", "--volumes", "--remove-orphans", "--timeout=5", check=False)


def service_of(container: Container) -> str:
    """The name of its service."""
    name: str = container["Config"]["Labels"]["com.docker.compose.service"]
    return name
