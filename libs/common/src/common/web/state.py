"""What every service keeps for its requests, typed.

The lifespan of a service yields its state; each key has one dependency that hands it to handlers (`Db` in
`common.web.sessions`), and nothing else reads `request.state`. A service with more to keep extends `BaseState`.
"""

from typing import NotRequired, TypedDict

from starlette.requests import Request

from common.health import Health
from common.web.database import Database
from common.web.tokens import AccessToken, KeyProvider

__all__ = ["BaseState", "StateRequest"]


class BaseState(TypedDict):
    """`token` is the request's own, once it is verified."""

    db: Database
    health: Health
    keys: KeyProvider
    token: NotRequired[AccessToken]


class StateRequest(Request[BaseState]):
    """The annotation for dependencies: FastAPI takes a subclass, but no `Request[BaseState]`."""
