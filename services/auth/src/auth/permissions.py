"""Who calls, as parameter types of the handlers."""

import uuid
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from auth import users
from auth.models import User
from common.web.errors import Forbidden, Unauthenticated
from common.web.security import authenticate, authenticated
from common.web.sessions import ReadSession
from common.web.state import StateRequest
from common.web.tokens import AccessToken, Role

__all__ = ["Address", "CurrentUser", "OptionalToken", "user_id"]


def user_id(token: AccessToken) -> uuid.UUID:
    """The user's id; raises Unauthenticated for a subject that is not a user's."""
    try:
        return uuid.UUID(token.subject)
    except ValueError:
        raise Unauthenticated("The token's subject is not a user.", code="invalid_token") from None


async def _current_user(token: Annotated[AccessToken, authenticated], db: ReadSession) -> User:
    if token.role == Role.SERVICE:
        raise Forbidden("This needs a user's token, not a service's.")
    user = await users.find(db, user_id(token))
    if user is None:
        raise Unauthenticated("The account of this token is gone.", code="invalid_token")
    return user


async def _optional_token(request: StateRequest) -> AccessToken | None:
    return await authenticate(request) if "authorization" in request.headers else None


async def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


CurrentUser = Annotated[User, Depends(_current_user)]
"""The user whose valid token was sent, as the database knows them now."""

OptionalToken = Annotated[AccessToken | None, Depends(_optional_token)]
"""The caller of a route that needs no token; one that is sent must be valid all the same."""

Address = Annotated[str, Depends(_address)]
"""The client's IP address; behind a gateway the one that it vouches for."""
