"""Sources of products: the interface, its errors, and the registry of installed providers.

A package adds a provider by an entry point: `[project.entry-points."products.providers"]`.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import msgspec

from sync.providers.base import (
    ExternalAPIProvider,
    ExternalProduct,
    Page,
    ProviderAnswerInvalid,
    ProviderConfig,
    ProviderError,
    ProviderMisconfigured,
    ProviderPagingError,
    ProviderRefused,
    ProviderUnavailable,
    Reject,
    SourceUnchanged,
)

__all__ = [
    "ExternalAPIProvider",
    "ExternalProduct",
    "Page",
    "ProviderAnswerInvalid",
    "ProviderConfig",
    "ProviderError",
    "ProviderMisconfigured",
    "ProviderPagingError",
    "ProviderRefused",
    "ProviderUnavailable",
    "Reject",
    "SourceUnchanged",
    "describe",
    "is_partial",
    "known",
    "load",
    "validators_of",
]

GROUP = "products.providers"


def known() -> tuple[str, ...]:
    """The names that `load` understands, sorted."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def load(name: str, config: ProviderConfig) -> ExternalAPIProvider:
    """The provider registered under this name, or `ProviderMisconfigured` with the names there are."""
    factory = _find(name).load()
    if config.options and _options(factory) is None:
        raise ProviderMisconfigured(f"options.{min(config.options)[:60]}: provider {name!r} has no options.")
    provider = factory(config)
    if not isinstance(provider, ExternalAPIProvider):
        raise ProviderMisconfigured(f"Provider {name!r} lacks a part of ExternalAPIProvider.")
    return provider


def describe(name: str) -> dict[str, Any]:
    """The JSON Schema of what `ProviderConfig.options` may hold for this provider; {} if it has none."""
    options = _options(_find(name).load())
    return {} if options is None else msgspec.json.schema(options)


def is_partial(provider: ExternalAPIProvider) -> bool:
    """Whether a pass of this provider is of changes alone, so that a product that does not come is not gone."""
    return getattr(provider, "partial", False) is True


def validators_of(provider: ExternalAPIProvider) -> dict[str, str]:
    """What later passes may give as `ProviderConfig.validators`, once a pass is complete; {} if there is nothing."""
    return dict(getattr(provider, "validators", {}))


def _options(factory: Any) -> type[msgspec.Struct] | None:
    options: type[msgspec.Struct] | None = getattr(factory, "Options", None)
    return options


def _find(name: str) -> EntryPoint:
    points = {point.value: point for point in entry_points(group=GROUP, name=name)}
    if not points:
        names = ", ".join(known()) or "none"
        raise ProviderMisconfigured(f"There is no provider {name!r}. Installed: {names}.")
    if len(points) > 1:
        # Which one wins would depend on the order of sys.path.
        raise ProviderMisconfigured(f"Provider {name!r} is registered twice: {', '.join(sorted(points))}.")
    return next(iter(points.values()))
