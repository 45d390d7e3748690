"""Who calls, as parameter types of the handlers."""

import uuid
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from auth import users
from auth.models import User
from common.web.errors import Forbidden, Unauthenticated
from common.web.orm import ReadSession
from common.web.security import authenticate, authenticated
from common.web.state import StateRequest
from common.web.tokens import AccessToken, Role

__all__ = ["ClientIP", "CurrentUser", "OptionalToken", "user_id"]


def user_id(token: AccessToken) -> uuid.UUID:
    """The id of the user; raises Unauthenticated when the subject is not a user."""
    try:
        return uuid.UUID(token.subject)
    except ValueError:
        raise Unauthenticated("The subject of the token is not a user.", code="invalid_token") from None


async def _current_user(token: Annotated[AccessToken, authenticated], db: ReadSession) -> User:
    if token.role == Role.SERVICE:
        raise Forbidden("This needs the token of a user, not of a service.")
    user = await users.find(db, user_id(token))
    if user is None:
        raise Unauthenticated("The account of this token has been deleted.", code="invalid_token")
    return user


async def _optional_token(request: StateRequest) -> AccessToken | None:
    return await authenticate(request) if "authorization" in request.headers else None


async def _client_ip(request: Request) -> str:
    return request.client.host if request.client else "unknown"


CurrentUser = Annotated[User, Depends(_current_user)]
"""The user of the token, as the database has it now."""

OptionalToken = Annotated[AccessToken | None, Depends(_optional_token)]
"""The token of a caller who needs none. One that is sent must be valid."""

ClientIP = Annotated[str, Depends(_client_ip)]
"""The client's IP address; behind a trusted gateway the one that it forwards (`common.web.forwarded`)."""
