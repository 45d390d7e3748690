"""What clients send and get."""

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
from auth.models import Role
from common.web.openapi import Problem

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
    "accept_email",
    "accept_password",
]

_UNFIT = re.compile("[\x00\ud800-\udfff]").search


def _normalised(most: int) -> BeforeValidator:
    """One form for what looks the same (RFC 8265), of at most `most` characters.

    The length is looked at first: to normalise a long run of combining marks takes time that grows with its square.
    Forms, unlike our JSON, may hold NUL and lone surrogates.
    """

    def normalise(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if len(value) > 4 * most:
            raise ValueError(f"must have at most {most} characters")
        if _UNFIT(value):
            raise ValueError("must hold neither NUL nor lone surrogates")
        return unicodedata.normalize("NFC", value)

    return BeforeValidator(normalise)


def _checked_email(value: str) -> str:
    return Email(value).check().typed


MAX_PASSWORD = 128
Typed = Annotated[str, _normalised(emails.MAX_LENGTH), Field(max_length=emails.MAX_LENGTH)]
NewEmail = Annotated[Typed, AfterValidator(_checked_email)]
Password = Annotated[
    str,
    _normalised(MAX_PASSWORD),
    Field(max_length=MAX_PASSWORD, json_schema_extra={"format": "password"}),
]
NewPassword = Annotated[Password, Field(min_length=8)]
Text = Annotated[str, _normalised(512), Field(max_length=512)]
accept_email = TypeAdapter[str](NewEmail).validate_python
accept_password = TypeAdapter[str](NewPassword).validate_python


# Swagger UI sends the example unless it is edited.
_PERSON: JsonDict = {"email": "ada@example.com", "password": "a password of your own"}
_TOKEN: JsonDict = {"refresh_token": "the refresh_token of /auth/login"}


def _strict(example: JsonDict) -> ConfigDict:
    return ConfigDict(extra="forbid", hide_input_in_errors=True, json_schema_extra={"example": example})


class RegisterIn(BaseModel):
    """A new account."""

    model_config = _strict(_PERSON | {"role": "user"})

    email: NewEmail
    password: NewPassword
    role: Role = "user"


class LoginIn(BaseModel):
    """Email and password."""

    model_config = _strict(_PERSON)

    email: Typed
    password: Password


class RefreshIn(BaseModel):
    """A refresh token of /auth/login or /auth/refresh."""

    model_config = _strict(_TOKEN)

    refresh_token: Text


class TokenIn(BaseModel):
    """The form of RFC 6749. Unknown parameters are ignored, as the RFC requires."""

    model_config = ConfigDict(hide_input_in_errors=True)

    grant_type: Text = Field("password", json_schema_extra={"enum": ["password", "client_credentials"]})
    username: Typed | None = None
    password: Password | None = None
    client_id: Text | None = None
    client_secret: Text | None = None


class UserOut(BaseModel):
    """An account."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str = Field(validation_alias="shown_email", description="As it was typed.")
    role: Role
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
    """An error that clients of RFC 6749 also understand."""

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
