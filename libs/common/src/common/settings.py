"""Settings that every service shares, and how they are read and refused."""

import ipaddress
import json
import re
import sys
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

__all__ = ["ServiceSettings", "check_secret", "faults_of", "load_settings", "parse_networks"]

EXAMPLE_SECRETS = re.compile(r"change|example|secret-?key|password|^(.)\1+$", re.IGNORECASE)


class ServiceSettings(BaseSettings):
    """Read from the environment, once, at start. `APP_ENV=production` refuses unsafe values."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    app_env: Literal["local", "production"] = "local"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 9100
    database_url: SecretStr
    redis_url: SecretStr
    backend_cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "pretty"] = "auto"
    otel_exporter_otlp_endpoint: str | None = None
    drain_seconds: Annotated[float, Field(ge=0, le=60)] = 0.0
    forwarded_allow_ips: str = "127.0.0.1"
    db_pool_size: Annotated[int, Field(ge=1, le=200)] = 8
    faults: str = ""

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _postgres(cls, value: SecretStr, info: Any) -> SecretStr:
        url = urlsplit(value.get_secret_value())
        if url.scheme not in ("postgresql", "postgresql+psycopg", "postgres"):
            raise ValueError("must be a postgresql:// or postgresql+psycopg:// URL")
        if info.data.get("app_env") == "production" and not url.password and "passfile" not in url.query:
            raise ValueError("must name a password in production")
        _refuse_example_password(url, info)
        return SecretStr(url._replace(scheme="postgresql").geturl())

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: SecretStr, info: Any) -> SecretStr:
        url = urlsplit(value.get_secret_value())
        if url.scheme not in ("redis", "rediss", "unix"):
            raise ValueError("must be a redis://, rediss:// or unix:// URL")
        _refuse_example_password(url, info)
        return value

    @field_validator("backend_cors_origins", mode="before")
    @classmethod
    def _origins(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        text = value.strip()
        return tuple(json.loads(text) if text.startswith("[") else filter(None, map(str.strip, text.split(","))))

    @field_validator("backend_cors_origins")
    @classmethod
    def _no_wildcard(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.path not in ("", "/"):
                raise ValueError("each must be an origin like https://shop.example; '*' is refused")
        return tuple(origin.rstrip("/") for origin in value)

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _networks(cls, value: str) -> str:
        try:
            parse_networks(value)
        except ValueError:
            raise ValueError("must be addresses and networks like 10.0.0.0/8, separated by commas, or *") from None
        return value

    @field_validator("faults")
    @classmethod
    def _faults(cls, value: str, info: Any) -> str:
        if value and info.data.get("app_env") == "production":
            raise ValueError("must be empty in production")
        if value:
            from common import faults

            faults.parse(value)
        return value

    @property
    def sqlalchemy_url(self) -> str:
        """The one DATABASE_URL with SQLAlchemy's name for psycopg 3."""
        return self.database_url.get_secret_value().replace("postgresql://", "postgresql+psycopg://", 1)


def _refuse_example_password(url: SplitResult, info: Any) -> None:
    if info.data.get("app_env") == "production" and EXAMPLE_SECRETS.search(url.password or ""):
        raise ValueError("names a password that looks like an example")


S = TypeVar("S", bound=ServiceSettings)


def load_settings(kind: type[S]) -> S:
    """Read `kind` from the environment; on bad values print all faults at once, without values, and exit 2."""
    try:
        return kind()  # type: ignore[call-arg]  # the values come from the environment
    except ValidationError as error:
        sys.stderr.writelines(f"settings: {fault}\n" for fault in _told(error))
        sys.exit(2)


def faults_of(kind: type[ServiceSettings], values: dict[str, Any]) -> list[str]:
    """What is wrong with settings that are not in the environment (yet): `NAME: why`, without values."""
    try:
        kind(**values)
    except ValidationError as error:
        return _told(error)
    return []


def _told(error: ValidationError) -> list[str]:
    faults = []
    for fault in error.errors(include_input=False, include_url=False):
        name = ".".join(str(part) for part in fault["loc"]).upper()
        message = "is not set" if fault["type"] == "missing" else fault["msg"].removeprefix("Value error, ")
        faults.append(f"{name}: {message}")
    return faults


def check_secret(value: SecretStr, app_env: str | None) -> SecretStr:
    """A secret long enough to be one, and in production not one out of a manual."""
    text = value.get_secret_value()
    if len(text.encode()) < 32:
        raise ValueError("must be at least 32 bytes; make one with: openssl rand -base64 48")
    if app_env == "production" and EXAMPLE_SECRETS.search(text):
        raise ValueError("looks like an example; make one with: openssl rand -base64 48")
    return value


def parse_networks(setting: str) -> list[IPv4Network | IPv6Network]:
    """FORWARDED_ALLOW_IPS: addresses and networks, separated by commas, or `*`. Raises ValueError."""
    if setting.strip() == "*":
        return [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
    return [ipaddress.ip_network(part.strip()) for part in setting.split(",") if part.strip()]
