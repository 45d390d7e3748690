"""Who may do what, each permission once."""

from typing import Annotated

from common.web.security import requires
from common.web.tokens import AccessToken, Role, Scope

__all__ = ["CanImport", "CanWriteProducts"]

CanWriteProducts = Annotated[AccessToken, requires(Role.ADMIN)]
CanImport = Annotated[AccessToken, requires(Scope.CATALOG_IMPORT)]
