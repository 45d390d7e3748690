"""Which processes a stack has, with which ports and environment."""

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from stack import gateway
from stack.credentials import Credentials
from stack.external import ExternalPostgres
from stack.paths import DUMMYJSON, RELOAD
from stack.ports import HOST, Ports
from stack.postgres import Postgres
from stack.rundir import RunDir
from stack.settings import Settings
from stack.spec import Spec, Stage
from stack.valkey import Valkey

__all__ = ["Plan"]

# Grown for replicas: a process keeps up to two pools of 8 connections.
BASE_CONNECTIONS, CONNECTIONS_PER_REPLICA = 100, 20
COMMANDS = {
    "auth": ("auth", "serve", Stage.API, 3.0),
    "catalog": ("catalog", "serve", Stage.API, 3.0),
    "sync-api": ("sync", "serve", Stage.API, 3.0),
    "sync-worker": ("sync", "work", Stage.WORKER, 4.0),
    "sync-scheduler": ("sync", "schedule", Stage.SCHEDULER, 2.0),
}
DEBUG_PORT = 5678
# Seconds from being asked to stop to not accepting any more.
ALONE, SHARED = "0.2", "1.5"
# The launcher's own, and the secrets that only their holders get.
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


@dataclass(frozen=True)
class Plan:
    """All specs of one start; the ports are chosen when it is made."""

    settings: Settings
    run_dir: RunDir
    credentials: Credentials
    pretty: bool
    reload: bool = False
    ports: Ports = field(init=False)
    postgres: Postgres | ExternalPostgres = field(init=False)
    valkey: Valkey | None = field(init=False)
    gateway_port: int = field(init=False)
    assigned: dict[str, tuple[int, int]] = field(init=False)
    provider_port: int | None = field(init=False)

    def __post_init__(self) -> None:
        ports = Ports({self.settings.port})
        replicas = sum(self.settings.replicas.values()) - len(self.settings.replicas)
        connections = BASE_CONNECTIONS + CONNECTIONS_PER_REPLICA * max(0, replicas)
        chosen = {
            "ports": ports,
            "gateway_port": self.settings.port or ports.pick(),
            "postgres": ExternalPostgres(self.run_dir, self.settings.postgres_url)
            if self.settings.postgres_url
            else Postgres(self.run_dir, ports.pick(), {"max_connections": str(connections)}),
            "valkey": None if self.settings.redis_url else Valkey(self.run_dir, ports.pick()),
            "assigned": {name: (ports.pick(), ports.pick()) for name in self._replica_names()},
            "provider_port": None if self.settings.external_api_url else ports.pick(),
        }
        for name, value in chosen.items():
            object.__setattr__(self, name, value)

    @property
    def gateway_url(self) -> str:
        return f"http://{HOST}:{self.gateway_port}"

    @property
    def redis_url(self) -> str:
        return self.settings.redis_url or (self.valkey.url() if self.valkey else "")

    def servers(self) -> list[Spec]:
        """What needs no database: started first."""
        specs = [] if self.valkey is None else [self.valkey.spec()]
        specs.append(
            gateway.spec(
                self.run_dir,
                self.gateway_port,
                self._upstreams(),
                pretty=self.pretty,
                origins=self.settings.environment.get("BACKEND_CORS_ORIGINS", ""),
            )
        )
        return specs if self.provider_port is None else [*specs, self._provider(self.provider_port)]

    def services(self) -> list[Spec]:
        return [self._service(name, port, metrics) for name, (port, metrics) in self.assigned.items()]

    def migration(self, service: str) -> Spec:
        argv = [sys.executable, "-m", service, "migrate"]
        return Spec(name=f"{service}-migrate", argv=argv, env=self.environment(service), stage=Stage.API)

    def environment(self, service: str) -> dict[str, str]:
        """What every process of `service` (auth, catalog or sync) is told, beside its own ports."""
        given = {name: value for name, value in self.settings.environment.items() if not _is_held_back(name)}
        told = {
            "HOST": HOST,
            "APP_ENV": given.get("APP_ENV") or "local",
            "LOG_FORMAT": "pretty" if self.pretty else "json",
            "DATABASE_URL": self.postgres.url(service),
            "REDIS_URL": self.redis_url,
            "DRAIN_SECONDS": given.get("DRAIN_SECONDS") or ALONE,
            "FORWARDED_ALLOW_IPS": HOST,
            "PYTHONUNBUFFERED": "1",
        }
        if self.reload:
            given = {"LOG_LEVEL": "debug"} | given
        return given | told | self._own(service, given)

    def _own(self, service: str, given: Mapping[str, str]) -> dict[str, str]:
        secret = self.credentials
        auth_url, catalog_url = (self._url(name) for name in ("auth", "catalog"))
        source = f"http://{HOST}:{self.provider_port}/products"
        return {
            "auth": {
                "SECRET_KEY": secret.secret_key,
                "SYNC_CLIENT_SECRET": secret.sync_client_secret,
                "ADMIN_REGISTRATION": given.get("ADMIN_REGISTRATION") or "first",
            },
            "catalog": {"AUTH_URL": auth_url},
            "sync": {
                "AUTH_URL": auth_url,
                "CATALOG_URL": catalog_url,
                "SYNC_CLIENT_SECRET": secret.sync_client_secret,
                "EXTERNAL_API_PROVIDER": given.get("EXTERNAL_API_PROVIDER") or "dummyjson",
                "EXTERNAL_API_URL": self.settings.external_api_url or source,
                "SYNC_INTERVAL_MINUTES": given.get("SYNC_INTERVAL_MINUTES") or "30",
            },
        }[service]

    def _service(self, name: str, port: int, metrics_port: int) -> Spec:
        module, command, stage, grace = COMMANDS[_kind(name)]
        metrics = f"http://{HOST}:{metrics_port}"
        url = f"http://{HOST}:{port}" if stage is Stage.API else None
        return Spec(
            name=name,
            argv=[*self._reloader(), sys.executable, "-m", module, command],
            env=self.environment(module)
            | {"PORT": str(port), "METRICS_PORT": str(metrics_port)}
            | self._drain(name)
            | ({"DEBUGPY_PORT": str(DEBUG_PORT)} if self.reload and name == self.settings.debug else {}),
            stage=stage,
            url=url,
            metrics_url=f"{metrics}/metrics",
            health_url=f"{url or metrics}/health",
            grace=grace,
            # A worker would for a minute try to give its run back to databases that die at the same moment.
            death_signal=signal.SIGKILL if stage is Stage.WORKER else signal.SIGTERM,
        )

    def _drain(self, name: str) -> dict[str, str]:
        """Where another replica takes over, a process waits until the gateway's next look has seen it leave."""
        shared = self.settings.replicas[_kind(name)] > 1 and not self.settings.environment.get("DRAIN_SECONDS")
        return {"DRAIN_SECONDS": SHARED} if shared else {}

    def _reloader(self) -> list[str]:
        """What starts a command anew when its service's code is saved."""
        return [sys.executable, str(RELOAD)] if self.reload else []

    def _provider(self, port: int) -> Spec:
        url = f"http://{HOST}:{port}/products"
        return Spec(
            name="provider",
            argv=[sys.executable, str(DUMMYJSON)],
            env={"PATH": self.settings.environment.get("PATH", ""), "PORT": str(port)},
            stage=Stage.PROVIDER,
            url=url,
            health_url=f"{url}/1",
            grace=1.0,
        )

    def _upstreams(self) -> dict[str, list[int]]:
        apis = {"auth": "auth", "catalog": "catalog", "sync": "sync-api"}
        return {
            service: [port for name, (port, _) in self.assigned.items() if _kind(name) == kind]
            for service, kind in apis.items()
        }

    def _replica_names(self) -> list[str]:
        counts = self.settings.replicas.items()
        return [name if n == 1 else f"{name}-{n}" for name, count in counts for n in range(1, count + 1)]

    def _url(self, name: str) -> str:
        return f"http://{HOST}:{self.assigned[name][0]}"


def _kind(name: str) -> str:
    """`catalog-2` is a catalog."""
    return name if name in COMMANDS else name.rpartition("-")[0]


def _is_held_back(name: str) -> bool:
    return name in HELD_BACK or name.startswith("REPLICAS_")
