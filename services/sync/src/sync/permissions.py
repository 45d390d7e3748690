"""Who may do what, each permission once."""

from typing import Annotated

from common.security import Principal, requires

__all__ = ["CanSync"]

CanSync = Annotated[Principal, requires(role="admin")]
