"""Settings of sync alone."""

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from common.settings import WIRED, AuthUrl, ServiceSettings, SyncClientSecret
from common.urls import without_secrets

__all__ = ["SyncSettings"]


class SyncSettings(ServiceSettings):
    """The source of the environment, where products go, and what the sources of the API may reach.

    `EXTERNAL_API_URL` may carry a key, so it is a secret too.
    """

    auth_url: AuthUrl = "http://127.0.0.1:8001"
    catalog_url: str = Field(
        "http://127.0.0.1:8002",
        description="Where sync sends products.",
        json_schema_extra=WIRED | {"format": "uri"},
    )
    sync_client_secret: SyncClientSecret
    external_api_provider: str = Field(
        "dummyjson",
        pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$",
        description="The provider that reads the external API.",
    )
    source_name: str = Field(
        "",
        pattern=r"^([a-z0-9][a-z0-9_-]{0,62})?$",
        description="The name of the source of the external API; that of its provider unless it is set.",
    )
    external_api_url: SecretStr = Field(
        SecretStr("https://dummyjson.com/products"),
        description="The products of the external API. With `make run` and docker compose a bundled server has those "
        "of DummyJSON unless it is set; the real ones are at https://dummyjson.com/products.",
        json_schema_extra={"format": "uri", "example": ""},
    )
    sync_interval_minutes: int = Field(
        30,
        ge=1,
        le=10_080,
        description="The time between two scheduled runs.",
        json_schema_extra={"unit": "minutes"},
    )
    allow_private_sources: bool | None = Field(
        None,
        description="Whether the sources of the API may be at addresses that are not public, as a service of the "
        "cluster or of this machine is: locally true, in production false unless it is set.",
    )
    source_secrets_folder: str = Field(
        "",
        description='The folder of the files that options of sources refer to as `{"file": "name"}`, such as a mounted '
        "secret.",
    )
    source_files_folder: str = Field(
        "", description="The folder of the files that sources of the provider `file` read at `file:name`."
    )
    run_retention_days: int = Field(
        30,
        ge=1,
        le=3650,
        description="For how long runs, their changes and their rejects are kept.",
        json_schema_extra={"unit": "days"},
    )

    @field_validator("auth_url", "catalog_url")
    @classmethod
    def _service(cls, value: str) -> str:
        return _http_url(value).rstrip("/")

    @field_validator("external_api_url")
    @classmethod
    def _external(cls, value: SecretStr) -> SecretStr:
        _http_url(value.get_secret_value())
        return value

    @property
    def source(self) -> str:
        """The name of the source of the environment."""
        return self.source_name or self.external_api_provider

    @property
    def source_url(self) -> str:
        """The address of the source without credentials and query."""
        return without_secrets(self.external_api_url.get_secret_value())

    @property
    def origin(self) -> tuple[str, str, str]:
        """The source of the environment: its name, provider and address as they are stored."""
        return self.source, self.external_api_provider, self.source_url

    @property
    def private_sources(self) -> bool:
        """Whether sources of the API may be at addresses that are not public."""
        local = self.app_env == "local"
        return local if self.allow_private_sources is None else self.allow_private_sources


def _http_url(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("must be an http:// or https:// URL")
    return value
