"""A look at a source before it is trusted: some of its records as they came, and what becomes of each."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import msgspec

from sync.providers.base import ExternalAPIProvider, ExternalProduct
from sync.providers.records import Mapped, shortened

__all__ = ["Sample", "sample"]

MOST = 100


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One record. `raw` is without its long and deep parts, and null if the provider does not show it."""

    raw: Any
    product: ExternalProduct | None
    reason: str | None
    """Why it is no product."""
    dropped: tuple[str, ...]
    """Optional fields that stay empty."""


async def sample(provider: ExternalAPIProvider, count: int = 10) -> list[Sample]:
    """The first records of the source, read with one page; raises the `ProviderError` that a pass would."""
    count = min(max(count, 1), MOST)
    read: Callable[[int], Awaitable[list[tuple[Any, Mapped]]]] | None = getattr(provider, "first", None)
    if read is not None:
        return [_sample(shortened(raw), mapped) for raw, mapped in await read(count)]
    async with aclosing(provider.pages()) as pages:  # type: ignore[type-var]
        page = await anext(pages)
    found = [Mapped(item, None) for item in page.items] + [Mapped(None, reject) for reject in page.rejects]
    return [_sample(None, mapped) for mapped in found[:count]]


def _sample(raw: Any, mapped: Mapped) -> Sample:
    reason = mapped.reject.reason if mapped.reject is not None else None
    return Sample(raw=raw, product=mapped.product, reason=reason, dropped=mapped.dropped)
