"""/auth/token: the two grants of RFC 6749 that auth supports."""

import base64
import binascii
from typing import Annotated
from urllib.parse import unquote_plus

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from auth.emails import Email
from auth.errors import InvalidClient, TokenRequestRefused
from auth.login import Login
from auth.schemas import ServiceTokenOut, TokenIn, TokenOut

__all__ = ["BasicClient", "grant"]


async def _basic_client(request: Request) -> tuple[str, str] | None:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise InvalidClient from None
    if not colon:
        raise InvalidClient
    return unquote_plus(name), unquote_plus(secret)


BasicClient = Annotated[tuple[str, str] | None, Depends(_basic_client)]
"""Client id and secret of HTTP Basic, form-encoded as RFC 6749 (2.3.1) requires; None without such a header."""


async def grant(
    form: TokenIn, client: tuple[str, str] | None, client_ip: str, login: Login, db: AsyncSession
) -> TokenOut | ServiceTokenOut:
    """The tokens for `form`; raises TokenRequestRefused, whose `error` is a code of RFC 6749, if it is not valid."""
    if form.grant_type == "password":
        if form.username is None or form.password is None:
            raise TokenRequestRefused("invalid_request", "This grant needs username and password.")
        user = await login.authenticate(Email(form.username), form.password, client_ip)
        return await login.create_session(db, user)
    if form.grant_type == "client_credentials":
        name, secret = client or (form.client_id, form.client_secret)
        if name is None or secret is None:
            raise TokenRequestRefused("invalid_request", "This grant needs client_id and client_secret.")
        return await login.service_token(name, secret)
    raise TokenRequestRefused("unsupported_grant_type", "grant_type must be `password` or `client_credentials`.")
