"""Settings of auth alone."""

from typing import Any, Literal

from pydantic import Field, field_validator

from common.settings import Secret, ServiceSettings, SyncClientSecret

__all__ = ["AdminRegistration", "AuthSettings"]

AdminRegistration = Literal["never", "first", "open"]


class AuthSettings(ServiceSettings):
    """The secrets of auth, and its limits."""

    secret_key: Secret = Field(
        description="Encrypts the private signing keys in the database, at least 32 bytes: openssl rand -base64 48. "
        "`make run` generates it."
    )
    sync_client_secret: SyncClientSecret
    admin_registration: AdminRegistration = Field(
        "first",
        validate_default=True,
        description="Who may register with the role admin: nobody, the first one while there is no admin, or anyone.",
    )
    access_token_seconds: int = Field(
        15 * 60, ge=60, le=3600, description="How long an access token is valid.", json_schema_extra={"unit": "seconds"}
    )
    refresh_token_days: int = Field(
        30, ge=1, le=365, description="How long a session lasts without a refresh.", json_schema_extra={"unit": "days"}
    )
    registrations_per_minute: int = Field(
        300, ge=1, description="New accounts from one client address.", json_schema_extra={"unit": "per minute"}
    )
    logins_per_minute: int = Field(
        300,
        ge=1,
        description="Attempts to log in from one client address, right or wrong.",
        json_schema_extra={"unit": "per minute"},
    )

    @field_validator("admin_registration")
    @classmethod
    def _no_strangers(cls, value: AdminRegistration, info: Any) -> AdminRegistration:
        if info.data.get("app_env") == "production" and value != "never":
            raise ValueError("must be 'never' in production: make the first admin with `python -m auth create-admin`")
        return value
