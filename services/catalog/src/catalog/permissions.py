"""Who may do what, each permission once."""

from typing import Annotated

from common.security import Principal, requires

__all__ = ["CanImport", "CanWriteProducts"]

CanWriteProducts = Annotated[Principal, requires(role="admin")]
CanImport = Annotated[Principal, requires(scope="catalog:import")]
