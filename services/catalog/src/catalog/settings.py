"""Settings of catalog alone."""

from common.settings import AuthUrl, ServiceSettings

__all__ = ["CatalogSettings"]


class CatalogSettings(ServiceSettings):
    """Where catalog finds auth."""

    auth_url: AuthUrl = "http://127.0.0.1:8001"
