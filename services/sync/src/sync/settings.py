"""Settings of sync alone."""

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from common.settings import WIRED, AuthUrl, ServiceSettings, SyncClientSecret
from common.urls import without_secrets

__all__ = ["SyncSettings"]


class SyncSettings(ServiceSettings):
    """The one source that is synced, where its products go, and how often.

    A source bears the name of its provider. `EXTERNAL_API_URL` may carry a key, so it is a secret too.
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
        description="The provider that reads the external API; the source has its name.",
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
        """The name of the source."""
        return self.external_api_provider

    @property
    def source_url(self) -> str:
        """The address of the source without credentials and query."""
        return without_secrets(self.external_api_url.get_secret_value())

    @property
    def interval(self) -> int:
        """Seconds between two scheduled runs."""
        return self.sync_interval_minutes * 60


def _http_url(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("must be an http:// or https:// URL")
    return value
