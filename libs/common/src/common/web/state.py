"""The typed state of a service.

The lifespan of a service yields it, and `request.state` holds it. Each key has one dependency, such as `Db`, and
nothing else reads it. A service with more state extends `BaseState`.
"""

from typing import Annotated, NotRequired, TypedDict

from fastapi import Depends
from starlette.requests import Request

from common.health import Health
from common.postgres import Postgres
from common.web.tokens import AccessToken, TokenVerifier

__all__ = ["BaseState", "Db", "StateRequest"]


class BaseState(TypedDict):
    """What every service has. `token` is that of the request, once it is verified."""

    db: Postgres
    health: Health
    tokens: TokenVerifier
    token: NotRequired[AccessToken]


class StateRequest(Request[BaseState]):
    """For the parameters of dependencies: FastAPI accepts a subclass of Request, but not `Request[BaseState]`."""


async def _db(request: StateRequest) -> Postgres:
    return request.state["db"]


Db = Annotated[Postgres, Depends(_db)]
"""The connections of the process, for single statements."""
