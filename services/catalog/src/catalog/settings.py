"""Settings of catalog alone."""

from common.settings import ServiceSettings

__all__ = ["CatalogSettings"]


class CatalogSettings(ServiceSettings):
    """`AUTH_URL` is where auth publishes the keys that verify tokens."""

    auth_url: str = "http://127.0.0.1:8001"
