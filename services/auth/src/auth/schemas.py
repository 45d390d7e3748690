"""What clients send and receive."""

import re
import unicodedata
from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic.config import JsonDict
from typing_extensions import TypedDict

from auth import emails
from auth.emails import Email
from common.web.openapi import Problem
from common.web.tokens import Role

__all__ = [
    "JWKSet",
    "LoginIn",
    "OAuthProblem",
    "RefreshIn",
    "RegisterIn",
    "ServiceTokenOut",
    "TokenIn",
    "TokenOut",
    "UserOut",
    "validate_email",
    "validate_password",
]

_FORBIDDEN = re.compile("[\x00\ud800-\udfff]").search


def _normalized(max_length: int) -> BeforeValidator:
    """NFC, so that what looks the same is the same (RFC 8265), with at most `max_length` characters.

    The length is checked before, since the time to normalize combining marks grows with the square of their number.
    NUL and lone surrogates are refused here, since forms may contain them; JSON with them is refused before.
    """

    def normalize(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if len(value) > 4 * max_length:
            raise ValueError(f"must have at most {max_length} characters")
        if _FORBIDDEN(value):
            raise ValueError("must not contain NUL or lone surrogates")
        return unicodedata.normalize("NFC", value)

    return BeforeValidator(normalize)


def _check_email(value: str) -> str:
    return Email(value).check().typed


MAX_PASSWORD = 128
# To log in, any text will do: only a new account needs a valid email and a long password.
AnyEmail = Annotated[str, _normalized(emails.MAX_LENGTH), Field(max_length=emails.MAX_LENGTH)]
NewEmail = Annotated[AnyEmail, AfterValidator(_check_email)]
AnyPassword = Annotated[
    str,
    _normalized(MAX_PASSWORD),
    Field(max_length=MAX_PASSWORD, json_schema_extra={"format": "password"}),
]
NewPassword = Annotated[AnyPassword, Field(min_length=8)]
Text = Annotated[str, _normalized(512), Field(max_length=512)]
AccountRole = Literal[Role.USER, Role.ADMIN]
validate_email = TypeAdapter[str](NewEmail).validate_python
validate_password = TypeAdapter[str](NewPassword).validate_python


# Swagger UI sends the examples unless they are edited.
_CREDENTIALS: JsonDict = {"email": "ada@example.com", "password": "a password of your own"}
_TOKEN: JsonDict = {"refresh_token": "the refresh_token of /auth/login"}


def _strict(example: JsonDict) -> ConfigDict:
    return ConfigDict(extra="forbid", hide_input_in_errors=True, json_schema_extra={"example": example})


class RegisterIn(BaseModel):
    """A new account."""

    model_config = _strict(_CREDENTIALS | {"role": "user"})

    email: NewEmail
    password: NewPassword
    role: AccountRole = Role.USER


class LoginIn(BaseModel):
    """Email and password."""

    model_config = _strict(_CREDENTIALS)

    email: AnyEmail
    password: AnyPassword


class RefreshIn(BaseModel):
    """A refresh token from /auth/login or /auth/refresh."""

    model_config = _strict(_TOKEN)

    refresh_token: Text


class TokenIn(BaseModel):
    """The form of RFC 6749. Unknown parameters are ignored, as the RFC requires."""

    model_config = ConfigDict(hide_input_in_errors=True)

    grant_type: Text = Field("password", json_schema_extra={"enum": ["password", "client_credentials"]})
    username: AnyEmail | None = None
    password: AnyPassword | None = None
    client_id: Text | None = None
    client_secret: Text | None = None


class UserOut(BaseModel):
    """An account."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str = Field(validation_alias="shown_email", description="As it was typed.")
    role: AccountRole
    created_at: datetime


class ServiceTokenOut(BaseModel):
    """A service's access token, valid for `expires_in` seconds."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int
    scope: str


class TokenOut(BaseModel):
    """`access_token` is valid for `expires_in` seconds; `refresh_token` can be used once."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int
    refresh_token: str


class OAuthProblem(Problem):
    """An error that OAuth clients also understand (RFC 6749)."""

    error: NotRequired[Annotated[str, Field(description="The code of RFC 6749, section 5.2.")]]
    error_description: NotRequired[str]


class PublicKey(TypedDict):
    """A key that verifies access tokens (RFC 7517). The header of a token names its `kid`."""

    kid: str
    kty: str
    crv: str
    x: str
    y: str
    alg: str
    use: str


class JWKSet(TypedDict):
    keys: list[PublicKey]
