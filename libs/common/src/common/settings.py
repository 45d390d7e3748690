"""Settings that every service shares, and how they are read and refused.

A field is the one declaration of a setting: `make settings` writes .env.example and docs/settings.md from it, and
`make chart` the limits in the chart's schema. In `json_schema_extra`, `unit` is that of a number, and `example` is the
value in .env.example where that is not the default.
"""

import json
import os
import re
import sys
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.config import JsonDict

__all__ = [
    "WIRED",
    "AuthUrl",
    "Secret",
    "ServiceSettings",
    "SyncClientSecret",
    "faults_of",
    "load_settings",
    "read_environment",
]

# Of a setting that make, docker compose and the chart set for each process.
WIRED: JsonDict = {"wired": True}
EXAMPLE_SECRETS = re.compile(r"change|example|secret-?key|password|^(.)\1+$", re.IGNORECASE)


def _check_secret(value: SecretStr, info: ValidationInfo) -> SecretStr:
    text = value.get_secret_value()
    if len(text.encode()) < 32:
        raise ValueError("must be at least 32 bytes; make one with: openssl rand -base64 48")
    if info.data.get("app_env") == "production" and EXAMPLE_SECRETS.search(text):
        raise ValueError("looks like an example; make one with: openssl rand -base64 48")
    return value


Secret = Annotated[SecretStr, AfterValidator(_check_secret)]
"""A secret that is long enough, and in production not one out of a manual."""
# What more than one service reads.
AuthUrl = Annotated[
    str,
    Field(description="Where auth publishes its keys and issues tokens.", json_schema_extra=WIRED | {"format": "uri"}),
]
SyncClientSecret = Annotated[
    Secret,
    Field(
        description="With it sync gets its tokens from auth, at least 32 bytes; the same for both. "
        "`make run` generates it."
    ),
]


class ServiceSettings(BaseModel):
    """Read from the environment once, at start. `APP_ENV`, which is checked first, decides how strictly."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", defer_build=True, validate_default=True, hide_input_in_errors=True
    )

    app_env: Literal["local", "production"] = Field(
        "local",
        description="In `production` a service refuses to start with an unsafe value, and lists all faults at once.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least level that is logged."
    )
    log_format: Literal["auto", "json", "pretty"] = Field(
        "auto", description="The form of log lines; `auto` is `pretty` on a terminal and `json` elsewhere."
    )
    backend_cors_origins: tuple[str, ...] = Field(
        (),
        description="Origins of web pages that may call the API, separated by commas or as a JSON list: "
        "https://shop.example,https://admin.example",
    )
    otel_exporter_otlp_endpoint: str | None = Field(
        None,
        description="Where spans are sent by OTLP over HTTP, such as http://127.0.0.1:4318; empty: nothing is traced.",
        json_schema_extra={"format": "uri"},
    )
    otel_traces_sampler_arg: float = Field(
        1.0,
        ge=0,
        le=1,
        description="The share of requests that are traced, of those that come without a trace of their own.",
    )
    drain_seconds: float = Field(
        0,
        ge=0,
        le=60,
        description="How long a process that was told to end still accepts requests while it is not ready; with "
        "`make run` 0.2 unless it is set.",
        json_schema_extra={"unit": "seconds", "example": ""},
    )
    db_pool_size: int = Field(
        8,
        ge=1,
        le=200,
        description="The size of each of the two connection pools of a process.",
        json_schema_extra={"unit": "connections"},
    )
    faults: str = Field(
        "",
        description="Injected faults, for developers: the share of requests that wait (and milliseconds) or get a 503, "
        "of statements and Redis commands that lose their server, of pages that the external API answers with a 503: "
        "latency=0.1:300,error=0.05,postgres=0.02,redis=0.1,source=0.2",
        json_schema_extra={
            "pattern": "^((latency=[0-9.]+:[0-9]+|(error|postgres|redis|source)=[0-9.]+)(,|$))*$",
        },
    )
    host: str = Field("127.0.0.1", description="The address that the process listens on.", json_schema_extra=WIRED)
    port: int = Field(8000, ge=0, le=65535, description="The port that its API listens on.", json_schema_extra=WIRED)
    metrics_port: int = Field(
        9100,
        ge=0,
        le=65535,
        description="The port of `/metrics`; worker and scheduler serve `/health` there too.",
        json_schema_extra=WIRED,
    )
    database_url: SecretStr = Field(
        description="PostgreSQL with the role of the service: postgresql://catalog_svc:<password>@<host>:5432/products",
        json_schema_extra=WIRED,
    )
    redis_url: SecretStr = Field(description="Redis: redis://:<password>@<host>:6379/0", json_schema_extra=WIRED)
    trusted_proxy_hops: int = Field(
        0,
        ge=0,
        le=8,
        description="How many proxies stand before this process, each of which appends an address to "
        "`X-Forwarded-For`: the client's is at this place from the right. 0: the header is not believed.",
        json_schema_extra=WIRED,
    )

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
        return kind(**read_environment(kind))
    except ValidationError as error:
        sys.stderr.writelines(f"settings: {fault}\n" for fault in _told(error))
        sys.exit(2)


def faults_of(kind: type[ServiceSettings], values: dict[str, Any]) -> list[str]:
    """What is wrong with settings that are not in the environment (yet): `NAME: why`, without values."""
    try:
        kind(**read_environment(kind) | values)
    except ValidationError as error:
        return _told(error)
    return []


def read_environment(kind: type[ServiceSettings]) -> dict[str, Any]:
    """The variables of the settings, whatever the case of their names; an empty one is not set.

    pydantic-settings would do the same for a tenth of the CPU time of a worker's start.
    """
    variables = {name.lower(): value for name, value in os.environ.items() if value}
    return {name: variables[name] for name in kind.model_fields if name in variables}


def _told(error: ValidationError) -> list[str]:
    faults = []
    for fault in error.errors(include_input=False, include_url=False):
        name = ".".join(str(part) for part in fault["loc"]).upper()
        message = "is not set" if fault["type"] == "missing" else fault["msg"].removeprefix("Value error, ")
        faults.append(f"{name}: {message}")
    return faults
