"""The typed state of a service.

The lifespan of a service yields it, and `request.state` holds it. Each key has one dependency, such as `Db` in
`common.web.sessions`, and nothing else reads it. A service with more state extends `BaseState`.
"""

from typing import NotRequired, TypedDict

from starlette.requests import Request

from common.health import Health
from common.web.database import Database
from common.web.tokens import AccessToken, KeyProvider

__all__ = ["BaseState", "StateRequest"]


class BaseState(TypedDict):
    """What every service has. `token` is that of the request, once it is verified."""

    db: Database
    health: Health
    keys: KeyProvider
    token: NotRequired[AccessToken]


class StateRequest(Request[BaseState]):
    """For the parameters of dependencies: FastAPI accepts a subclass of Request, but not `Request[BaseState]`."""
