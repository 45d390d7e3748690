"""Authentication by access token, and permissions as dependencies."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends
from fastapi.security import OAuth2PasswordBearer
from starlette.datastructures import Headers

from common.web.errors import Forbidden, Unauthenticated
from common.web.state import StateRequest
from common.web.tokens import AccessToken, Role, Scope

__all__ = ["Permission", "authenticate", "authenticated", "requires"]

_bearer = OAuth2PasswordBearer(tokenUrl="/auth/token", auto_error=False, description="Log in with email and password.")


def _bearer_token(headers: Headers) -> str:
    values = headers.getlist("authorization")
    if not values:
        raise Unauthenticated("This needs an access token: send `Authorization: Bearer ...`.")
    scheme, _, token = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not token.strip().isascii() or not token.strip():
        raise Unauthenticated("Send exactly one `Authorization: Bearer ...` header.", code="invalid_request")
    return token.strip()


async def authenticate(request: StateRequest) -> AccessToken:
    """The token of the caller, verified once per request; raises Unauthenticated if there is no valid one."""
    state = request.state
    if "token" not in state:
        state["token"] = await state["tokens"].verify(_bearer_token(request.headers))
    return state["token"]


class Permission:
    """A dependency that lets only some callers pass. Routes check it before they read the body."""

    def __init__(self, allowed: Callable[[AccessToken], bool], requirement: str) -> None:
        self._allowed = allowed
        self._requirement = requirement

    async def __call__(self, request: StateRequest, _: Annotated[str | None, Depends(_bearer)] = None) -> AccessToken:
        """The token of the caller; raises Unauthenticated or Forbidden."""
        token = await authenticate(request)
        if not self._allowed(token):
            raise Forbidden(f"This needs {self._requirement}.")
        return token


authenticated: Any = Depends(Permission(lambda _: True, "a token"))
"""Any caller with a valid token."""


def requires(required: Role | Scope) -> Any:
    """The permission for users with this role, or for services with this scope.

    Name each once, as an Annotated type: `CanSync = Annotated[AccessToken, requires(Role.ADMIN)]`.
    """
    if isinstance(required, Role):
        return Depends(Permission(lambda token: token.role == required, f"the role {required}"))
    return Depends(Permission(lambda token: required in token.scopes, f"the scope {required}"))
