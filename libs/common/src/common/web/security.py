"""Who may call a route: the caller's token, and permissions as dependencies."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends
from fastapi.security import OAuth2PasswordBearer
from starlette.datastructures import Headers

from common.web.errors import Forbidden, Unauthenticated
from common.web.state import StateRequest
from common.web.tokens import AccessToken, Role, Scope, verify

__all__ = ["Permission", "authenticate", "authenticated", "requires"]

_bearer = OAuth2PasswordBearer(tokenUrl="/auth/token", auto_error=False, description="Log in with email and password.")


def _sent_token(headers: Headers) -> str:
    values = headers.getlist("authorization")
    if not values:
        raise Unauthenticated("This needs an access token: send `Authorization: Bearer ...`.")
    scheme, _, token = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not token.strip().isascii() or not token.strip():
        raise Unauthenticated("Send exactly one `Authorization: Bearer ...` header.", code="invalid_request")
    return token.strip()


async def authenticate(request: StateRequest) -> AccessToken:
    """The caller's token; raises Unauthenticated without a valid one. It is verified once per request."""
    state = request.state
    if "token" not in state:
        state["token"] = await verify(_sent_token(request.headers), state["keys"])
    return state["token"]


class Permission:
    """Who may call a route: a dependency, which routes check before they read a body."""

    def __init__(self, allowed: Callable[[AccessToken], bool], requirement: str) -> None:
        self._allowed = allowed
        self._requirement = requirement

    async def __call__(self, request: StateRequest, _: Annotated[str | None, Depends(_bearer)] = None) -> AccessToken:
        """Raises Unauthenticated or Forbidden."""
        token = await authenticate(request)
        if not self._allowed(token):
            raise Forbidden(f"This needs {self._requirement}.")
        return token


authenticated: Any = Depends(Permission(lambda _: True, "a token"))
"""Any caller with a valid token."""


def requires(required: Role | Scope) -> Any:
    """A permission, to be named once as an Annotated type: a user has this role, or a service this scope."""
    if isinstance(required, Role):
        return Depends(Permission(lambda token: token.role == required, f"the role {required}"))
    return Depends(Permission(lambda token: required in token.scopes, f"the scope {required}"))
