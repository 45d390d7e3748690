"""Settings of catalog alone."""

from pydantic import Field

from common.settings import AuthUrl, ServiceSettings

__all__ = ["CatalogSettings"]


class CatalogSettings(ServiceSettings):
    """Where catalog finds auth, and how it reads."""

    auth_url: AuthUrl = "http://127.0.0.1:8001"
    read_groups: int = Field(
        2,
        ge=1,
        le=16,
        description="How many groups of reads of one product, and how many of lists, a catalog process has under way "
        "in PostgreSQL; other reads wait for the next group.",
        json_schema_extra={"unit": "groups"},
    )
