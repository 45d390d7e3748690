"""Who may do what, each permission once."""

from typing import Annotated

from common.web.security import requires
from common.web.tokens import AccessToken, Role

__all__ = ["CanSync"]

CanSync = Annotated[AccessToken, requires(Role.ADMIN)]
