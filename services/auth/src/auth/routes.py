"""The HTTP routes of auth."""

from typing import Annotated

from fastapi import Depends, Form
from starlette.responses import Response

from auth import oauth, sessions
from auth.emails import Email
from auth.login import hash_token
from auth.oauth import BasicClient
from auth.permissions import ClientIP, CurrentUser, OptionalToken
from auth.schemas import (
    JWKSet,
    LoginIn,
    OAuthProblem,
    RefreshIn,
    RegisterIn,
    ServiceTokenOut,
    TokenIn,
    TokenOut,
    UserOut,
)
from auth.state import KeyRingDep, LoginDep, RegistrationDep
from common.web.openapi import problem_responses
from common.web.orm import WriteSession
from common.web.routing import make_router
from common.web.strict_json import JSONResponse

__all__ = ["router"]

router = make_router("auth")


async def _no_store(response: Response) -> None:
    response.headers["Cache-Control"] = "no-store"


NO_STORE = [Depends(_no_store)]


@router.post(
    "/auth/register",
    summary="Register an account",
    status_code=201,
    responses=problem_responses(400, 401, 403, 409, 413, 415, 429),
    openapi_extra={"security": [{}, {"OAuth2PasswordBearer": []}]},
)
async def register(
    body: RegisterIn, caller: OptionalToken, client_ip: ClientIP, registration: RegistrationDep, db: WriteSession
) -> UserOut:
    """Create an account. `role: "admin"` needs an admin's token, unless ADMIN_REGISTRATION allows more."""
    email = Email(body.email)
    password_hash = await registration.authorize_and_hash(email, body.password, body.role, client_ip, caller)
    user = await registration.add(db, email, password_hash, body.role, caller)
    return UserOut.model_validate(user)


@router.post(
    "/auth/login",
    summary="Log in",
    dependencies=NO_STORE,
    responses=problem_responses(400, 413, 415, 429) | problem_responses(401, model=OAuthProblem),
)
async def log_in(body: LoginIn, client_ip: ClientIP, login: LoginDep, db: WriteSession) -> TokenOut:
    """After 5 wrong passwords the account is locked for that client address: 60 s, doubling up to 15 minutes."""
    user = await login.authenticate(Email(body.email), body.password, client_ip)
    return await login.create_session(db, user)


@router.get(
    "/auth/me",
    summary="Get your account",
    operation_id="get_current_user",
    dependencies=NO_STORE,
    responses=problem_responses(401, 403),
)
async def me(user: CurrentUser) -> UserOut:
    """The account that the token belongs to."""
    return UserOut.model_validate(user)


@router.post(
    "/auth/token",
    summary="Get a token (OAuth 2)",
    operation_id="issue_token",
    dependencies=NO_STORE,
    responses=problem_responses(413, 415, 429) | problem_responses(400, 401, model=OAuthProblem),
)
async def token(
    form: Annotated[TokenIn, Form()], client: BasicClient, client_ip: ClientIP, login: LoginDep, db: WriteSession
) -> TokenOut | ServiceTokenOut:
    """RFC 6749: `grant_type=password` with username (the email) and password, or `client_credentials`."""
    return await oauth.grant(form, client, client_ip, login, db)


@router.post(
    "/auth/refresh",
    summary="Refresh tokens",
    operation_id="refresh_tokens",
    dependencies=NO_STORE,
    responses=problem_responses(400, 413, 415, 429) | problem_responses(401, model=OAuthProblem),
)
async def refresh(body: RefreshIn, login: LoginDep) -> TokenOut:
    """Exchange a refresh token for a new pair. Sent again within 10 s it returns the same new refresh token, in case
    the answer was lost. Sent again later, or once the new one was used, it ends the whole session.
    """
    return await login.refresh(body.refresh_token)


@router.post(
    "/auth/logout",
    summary="Log out",
    status_code=204,
    response_class=Response,
    responses=problem_responses(400, 413, 415),
)
async def log_out(body: RefreshIn, db: WriteSession) -> None:
    """End the session of a refresh token. Its access tokens stay valid until they expire, within minutes."""
    await sessions.revoke_by_token(db, hash_token(body.refresh_token))


@router.get(
    "/.well-known/jwks.json",
    summary="Get the public keys",
    operation_id="get_public_keys",
    response_model=None,
    responses={200: {"model": JWKSet}, **problem_responses()},
)
async def jwks(keyring: KeyRingDep) -> Response:
    """The public keys that verify access tokens (RFC 7517)."""
    return JSONResponse(await keyring.jwks(), headers={"Cache-Control": "public, max-age=60"})
