"""Which processes a stack has, with which ports and environment."""

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from common.settings import faults_of
from stack import ROOT
from stack.credentials import Credentials
from stack.errors import StackError
from stack.ports import HOST, Ports
from stack.run_dir import RunDir
from stack.servers import gateway
from stack.servers.postgres import ExternalPostgres, PostgresServer
from stack.servers.valkey import ValkeyServer
from stack.services import APIS, PROGRAMS, SETTINGS
from stack.settings import Settings
from stack.specs import ProcessSpec, Stage

__all__ = ["DEBUG_PORT", "Plan"]

DUMMYJSON = ROOT / "deploy/dummyjson/server.py"
RELOAD = ROOT / "deploy/reload.py"
DEBUG_PORT = 5678
# PostgreSQL's limit grows with the replicas: a process has up to two pools of 8 connections.
BASE_CONNECTIONS, CONNECTIONS_PER_REPLICA = 100, 20
# Seconds from SIGTERM until a process accepts no more connections: the only one of its kind, or one of several, which
# waits until the gateway's next check has seen that it is not ready.
DRAIN_ALONE, DRAIN_REPLICATED = "0.2", "1.5"
# Not passed on to services: the launcher's own settings, and secrets that only some of them get.
HELD_BACK = (
    "PORT",
    "RUN_DIR",
    "LOGS",
    "POSTGRES_URL",
    "DEBUG",
    "SECRET_KEY",
    "SYNC_CLIENT_SECRET",
    "PROMETHEUS_MULTIPROC_DIR",
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All processes of one start. `ports` holds the HTTP port and the metrics port of each process of a service, and
    `gateway_ports` those of the gateway;
    `redis` and `dummyjson_port` are None where the user brings a server of his own."""

    settings: Settings
    run_dir: RunDir
    credentials: Credentials
    pretty: bool
    reload: bool
    postgres: PostgresServer | ExternalPostgres
    redis: ValkeyServer | None
    gateway_ports: tuple[int, int]
    ports: Mapping[str, tuple[int, int]]
    dummyjson_port: int | None

    @classmethod
    def create(
        cls, settings: Settings, run_dir: RunDir, credentials: Credentials, *, pretty: bool, reload: bool = False
    ) -> Self:
        """Choose the ports, and the folders of the servers."""
        free = Ports({settings.port})
        replicas = sum(settings.replicas.values()) - len(settings.replicas)
        connections = BASE_CONNECTIONS + CONNECTIONS_PER_REPLICA * max(0, replicas)
        return cls(
            settings=settings,
            run_dir=run_dir,
            credentials=credentials,
            pretty=pretty,
            reload=reload,
            postgres=ExternalPostgres(run_dir, settings.postgres_url)
            if settings.postgres_url
            else PostgresServer(run_dir, free.pick(), {"max_connections": str(connections)}),
            redis=None if settings.redis_url else ValkeyServer(run_dir, free.pick()),
            gateway_ports=(settings.port or free.pick(), free.pick()),
            ports={name: (free.pick(), free.pick()) for name in _replica_names(settings.replicas)},
            # A run that was not done when the stack stopped goes on only at the address that it was made for.
            dummyjson_port=None if settings.external_api_url else free.pick(f"{run_dir.path} dummyjson"),
        )

    @property
    def gateway_url(self) -> str:
        return f"http://{HOST}:{self.gateway_ports[0]}"

    @property
    def redis_url(self) -> str:
        return self.settings.redis_url or (self.redis.url() if self.redis else "")

    def check_settings(self) -> None:
        """Raise StackError for settings that a service would refuse; it names each once, and not its value."""
        faults: list[str] = []
        for service, kind in SETTINGS.items():
            given = {name.lower(): value for name, value in self.environment(service).items() if value}
            faults += faults_of(kind, {name: value for name, value in given.items() if name in kind.model_fields})
        if faults:
            lines = (f"  {fault}" for fault in dict.fromkeys(faults))
            raise StackError("\n".join(["these settings are not valid:", *lines]))

    def servers(self) -> list[ProcessSpec]:
        """What needs no database, and so is started first."""
        ports = {
            service: [http for name, (http, _) in self.ports.items() if _kind(name) == kind]
            for service, kind in APIS.items()
        }
        given = self.settings.environment
        proxy = gateway.spec(*self.gateway_ports, ports, pretty=self.pretty, environment=given)
        redis = [] if self.redis is None else [self.redis.spec()]
        dummyjson = [] if self.dummyjson_port is None else [self._dummyjson(self.dummyjson_port)]
        return [*redis, proxy, *dummyjson]

    def services(self) -> list[ProcessSpec]:
        return [self._service(name, http, metrics) for name, (http, metrics) in self.ports.items()]

    def migration(self, service: str) -> ProcessSpec:
        argv = [sys.executable, "-m", service, "migrate"]
        return ProcessSpec(name=f"{service}-migrate", argv=argv, env=self.environment(service), stage=Stage.API)

    def environment(self, service: str) -> dict[str, str]:
        """The environment of every process of `service`, without its own ports."""
        given = {name: value for name, value in self.settings.environment.items() if not _is_held_back(name)}
        fixed = {
            "HOST": HOST,
            "APP_ENV": given.get("APP_ENV") or "local",
            "LOG_FORMAT": "pretty" if self.pretty else "json",
            "DATABASE_URL": self.postgres.url(service),
            "REDIS_URL": self.redis_url,
            "DRAIN_SECONDS": given.get("DRAIN_SECONDS") or DRAIN_ALONE,
            # The gateway passes on one address, whatever stands before it.
            "TRUSTED_PROXY_HOPS": "1",
            "PYTHONUNBUFFERED": "1",
        }
        if self.reload:
            given = {"LOG_LEVEL": "debug"} | given
        wired = self._wired(given).items()
        return given | fixed | {name: value for name, value in wired if name.lower() in SETTINGS[service].model_fields}

    def _wired(self, given: Mapping[str, str]) -> dict[str, str]:
        """What a service gets if it has a setting of this name."""
        return {
            **{f"{service.upper()}_URL": f"http://{HOST}:{self.ports[api][0]}" for service, api in APIS.items()},
            "SECRET_KEY": self.credentials.secret_key,
            "SYNC_CLIENT_SECRET": self.credentials.sync_client_secret,
            "ADMIN_REGISTRATION": given.get("ADMIN_REGISTRATION") or "first",
            "EXTERNAL_API_PROVIDER": given.get("EXTERNAL_API_PROVIDER") or "dummyjson",
            "EXTERNAL_API_URL": self.settings.external_api_url or _dummyjson_url(self.dummyjson_port),
            "SYNC_INTERVAL_MINUTES": given.get("SYNC_INTERVAL_MINUTES") or "30",
        }

    def _service(self, name: str, port: int, metrics_port: int) -> ProcessSpec:
        program = PROGRAMS[_kind(name)]
        metrics = f"http://{HOST}:{metrics_port}"
        url = f"http://{HOST}:{port}" if program.stage is Stage.API else None
        env = {"PORT": str(port), "METRICS_PORT": str(metrics_port)}
        if self.settings.replicas[_kind(name)] > 1 and not self.settings.environment.get("DRAIN_SECONDS"):
            env["DRAIN_SECONDS"] = DRAIN_REPLICATED
        if self.reload and name == self.settings.debug:
            env["DEBUGPY_PORT"] = str(DEBUG_PORT)
        reloader = [sys.executable, str(RELOAD)] if self.reload else []
        return ProcessSpec(
            name=name,
            argv=[*reloader, sys.executable, "-m", program.service, program.command],
            env=self.environment(program.service) | env,
            stage=program.stage,
            url=url,
            metrics_url=f"{metrics}/metrics",
            health_url=f"{url or metrics}/health",
            grace=program.grace,
            # On SIGTERM a worker would try for a minute to release its run, at databases that are being killed too.
            death_signal=signal.SIGKILL if program.stage is Stage.WORKER else signal.SIGTERM,
        )

    def _dummyjson(self, port: int) -> ProcessSpec:
        url = _dummyjson_url(port)
        return ProcessSpec(
            name="dummyjson",
            argv=[sys.executable, str(DUMMYJSON)],
            env={"PATH": self.settings.environment.get("PATH", ""), "PORT": str(port)},
            stage=Stage.DUMMYJSON,
            url=url,
            health_url=f"{url}/1",
            grace=1.0,
        )


def _replica_names(replicas: Mapping[str, int]) -> list[str]:
    return [name if n == 1 else f"{name}-{n}" for name, count in replicas.items() for n in range(1, count + 1)]


def _kind(name: str) -> str:
    """`catalog` of `catalog-2`."""
    return name if name in PROGRAMS else name.rpartition("-")[0]


def _dummyjson_url(port: int | None) -> str:
    return f"http://{HOST}:{port}/products"


def _is_held_back(name: str) -> bool:
    return name in HELD_BACK or name.startswith("REPLICAS_")
