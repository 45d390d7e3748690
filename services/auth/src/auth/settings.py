"""Settings of auth alone."""

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator

from common.settings import ServiceSettings, check_secret

__all__ = ["AdminRegistration", "AuthSettings"]

AdminRegistration = Literal["never", "first", "open"]


class AuthSettings(ServiceSettings):
    """`SECRET_KEY` wraps the private signing keys at rest; `SYNC_CLIENT_SECRET` is how sync proves itself."""

    secret_key: SecretStr
    sync_client_secret: SecretStr
    admin_registration: Annotated[AdminRegistration, Field(validate_default=True)] = "first"
    access_token_seconds: Annotated[int, Field(ge=60, le=3600)] = 15 * 60
    refresh_token_days: Annotated[int, Field(ge=1, le=365)] = 30
    registrations_per_minute: Annotated[int, Field(ge=1)] = 300
    logins_per_minute: Annotated[int, Field(ge=1)] = 300

    @field_validator("secret_key", "sync_client_secret")
    @classmethod
    def _secret(cls, value: SecretStr, info: Any) -> SecretStr:
        return check_secret(value, info.data.get("app_env"))

    @field_validator("admin_registration")
    @classmethod
    def _no_strangers(cls, value: AdminRegistration, info: Any) -> AdminRegistration:
        if info.data.get("app_env") == "production" and value != "never":
            raise ValueError("must be 'never' in production: make the first admin with `python -m auth create-admin`")
        return value
