"""What a provider is told of its source."""

from typing import Any

from sync.limits import Limits
from sync.providers import ProviderConfig
from sync.settings import SyncSettings
from sync.sources import SourceRow

__all__ = ["make", "of"]


def of(source: SourceRow, settings: SyncSettings) -> ProviderConfig:
    """For a source that is stored. The address of that of the environment is the environment's, with its secrets."""
    ours = source.managed_by == "environment"
    url = settings.external_api_url.get_secret_value() if ours else source.url
    return make(url, source.options, source.limits, settings, private=ours or settings.private_sources)


def make(url: str, options: dict[str, Any], limits: Limits, settings: SyncSettings, *, private: bool) -> ProviderConfig:
    """`private`: whether it may be at an address that is not public."""
    transport = None
    if settings.faults:
        from sync.faults import UnreliableSource

        transport = UnreliableSource()
    return ProviderConfig(
        url=url,
        options=options,
        page_size=limits.page_size,
        max_pages=limits.max_pages,
        max_records=limits.max_records,
        max_bytes=limits.max_bytes,
        max_requests_per_second=limits.max_requests_per_second,
        secrets_folder=settings.source_secrets_folder or None,
        files_folder=settings.source_files_folder or None,
        allow_private=private,
        transport=transport,
    )
