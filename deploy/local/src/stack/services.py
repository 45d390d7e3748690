"""The services, each declared once: its settings, and the processes that it is made of."""

from typing import NamedTuple

from auth.settings import AuthSettings
from catalog.settings import CatalogSettings
from common.settings import ServiceSettings
from stack.specs import Stage
from sync.settings import SyncSettings

__all__ = ["APIS", "PROGRAMS", "SERVICES", "SETTINGS", "Program"]


class Program(NamedTuple):
    """`python -m service command`, and how many seconds it gets to stop."""

    service: str
    command: str
    stage: Stage
    grace: float


SETTINGS: dict[str, type[ServiceSettings]] = {"auth": AuthSettings, "catalog": CatalogSettings, "sync": SyncSettings}
SERVICES = tuple(SETTINGS)
# The processes of the services, each of which may have replicas.
PROGRAMS = {
    "auth": Program("auth", "serve", Stage.API, 3.0),
    "catalog": Program("catalog", "serve", Stage.API, 3.0),
    "sync-api": Program("sync", "serve", Stage.API, 3.0),
    "sync-worker": Program("sync", "work", Stage.WORKER, 4.0),
    "sync-scheduler": Program("sync", "schedule", Stage.SCHEDULER, 2.0),
}
# The process of each service that answers its requests.
APIS = {program.service: name for name, program in PROGRAMS.items() if program.stage is Stage.API}
