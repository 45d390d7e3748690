"""What clients send and get."""

import re
import unicodedata
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic.config import JsonDict

from auth.models import Role

__all__ = [
    "LoginIn",
    "RefreshIn",
    "RegisterIn",
    "ServiceTokenOut",
    "TokenIn",
    "TokenOut",
    "UserOut",
    "accept_email",
    "accept_password",
]

# Sane rather than all of RFC 5322: no quoted local parts, and a domain of two labels or more.
_LABEL = r"(?!-)[\w-]{1,63}(?<!-)"
_EMAIL = re.compile(rf'(?!\.)(?!.*\.\.)[^\s@"(),:;<>\[\\\]]{{1,64}}(?<!\.)@(?:{_LABEL}\.)+{_LABEL}').fullmatch
_UNFIT = re.compile("[\x00\ud800-\udfff]").search


def _text(value: Any) -> Any:
    # One form for what looks the same (RFC 8265). Forms, unlike our JSON, may hold NUL and lone surrogates.
    if not isinstance(value, str):
        return value
    if _UNFIT(value):
        raise ValueError("must hold neither NUL nor lone surrogates")
    return unicodedata.normalize("NFC", value)


def _casefold(value: str) -> str:
    return unicodedata.normalize("NFC", value.casefold())


def _email(value: str) -> str:
    hidden = any(unicodedata.category(char)[0] in "CZ" for char in value)
    if hidden or len(value) > 254 or not _EMAIL(value):
        raise ValueError("is not an email address")
    return value


Text = Annotated[str, BeforeValidator(_text)]
Email = Annotated[Text, Field(max_length=254), AfterValidator(_casefold)]
NewEmail = Annotated[Email, AfterValidator(_email)]
Password = Annotated[Text, Field(max_length=128, json_schema_extra={"format": "password"})]
NewPassword = Annotated[Text, Field(min_length=8, max_length=128, json_schema_extra={"format": "password"})]
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
    """Proof of who one is."""

    model_config = _strict(_PERSON)

    email: Email
    password: Password


class RefreshIn(BaseModel):
    """A refresh token of /auth/login or /auth/refresh."""

    model_config = _strict(_TOKEN)

    refresh_token: Annotated[Text, Field(max_length=512)]


class TokenIn(BaseModel):
    """The form of RFC 6749; parameters that it does not know are ignored, as that asks."""

    model_config = ConfigDict(hide_input_in_errors=True)

    grant_type: Text = Field("password", json_schema_extra={"enum": ["password", "client_credentials"]})
    username: Email | None = None
    password: Password | None = None
    client_id: Text | None = None
    client_secret: Text | None = None


class UserOut(BaseModel):
    """An account."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str
    role: Role
    created_at: datetime


class ServiceTokenOut(BaseModel):
    """A service's access token; it asks for another when this expires."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int
    scope: str


class TokenOut(BaseModel):
    """`access_token` is for the Authorization header, for `expires_in` seconds; `refresh_token` for one refresh."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int
    refresh_token: str
