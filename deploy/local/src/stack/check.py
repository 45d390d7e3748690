"""Refuses settings that the services would refuse, before anything starts."""

from auth.settings import AuthSettings
from catalog.settings import CatalogSettings
from common.settings import ServiceSettings, faults_of
from stack.errors import StackError
from stack.plan import Plan
from sync.settings import SyncSettings

__all__ = ["check"]

KINDS: dict[str, type[ServiceSettings]] = {"auth": AuthSettings, "catalog": CatalogSettings, "sync": SyncSettings}


def check(plan: Plan) -> None:
    """Raises StackError that names each bad value once, and not the value."""
    found: list[str] = []
    for service, kind in KINDS.items():
        known = {name.lower(): value for name, value in plan.environment(service).items() if value}
        found += faults_of(kind, {name: value for name, value in known.items() if name in kind.model_fields})
    if found:
        raise StackError("\n".join(["these settings cannot work:", *(f"  {fault}" for fault in dict.fromkeys(found))]))
