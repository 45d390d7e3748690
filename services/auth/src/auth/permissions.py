"""Who calls, as parameter types of the handlers."""

import uuid
from typing import Annotated

from fastapi import Depends, Request

from auth import users
from auth.models import User
from common.db import ReadSession
from common.errors import Forbidden, Unauthenticated
from common.security import Principal, authenticate, authenticated

__all__ = ["Address", "CurrentUser", "OptionalPrincipal", "user_id"]


def user_id(principal: Principal) -> uuid.UUID:
    """The user's id; raises Unauthenticated for a subject that is not a user's."""
    try:
        return uuid.UUID(principal.id)
    except ValueError:
        raise Unauthenticated("The token's subject is not a user.", code="invalid_token") from None


async def _current_user(principal: Annotated[Principal, authenticated], db: ReadSession) -> User:
    if principal.role == "service":
        raise Forbidden("This needs a user's token, not a service's.")
    user = await users.find(db, user_id(principal))
    if user is None:
        raise Unauthenticated("The account of this token is gone.", code="invalid_token")
    return user


async def _optional_principal(request: Request) -> Principal | None:
    return await authenticate(request) if "authorization" in request.headers else None


async def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


CurrentUser = Annotated[User, Depends(_current_user)]
"""The user whose valid token was sent, as the database knows them now."""

OptionalPrincipal = Annotated[Principal | None, Depends(_optional_principal)]
"""The caller of a route that needs no token; one that is sent must be valid all the same."""

Address = Annotated[str, Depends(_address)]
"""The client's IP address; behind a gateway the one that it vouches for."""
