"""What an admin sets for a source: how much of it a run reads, and what a pass may change without being asked for.

msgspec, since workers read them from PostgreSQL; their limits are also what clients are told.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["Brake", "Limits"]

_Share = Annotated[float, Meta(ge=0, le=1)]


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much of a source one pass reads, and how fast."""

    page_size: Annotated[int, Meta(ge=1, le=500)] = 100
    """Records to ask for at a time; catalog takes as many in one request."""
    max_pages: Annotated[int, Meta(ge=1, le=10_000_000)] = 100_000
    max_bytes: Annotated[int, Meta(ge=1_000_000, le=1_000_000_000_000)] = 20_000_000_000
    """Of a whole pass, after decompression."""
    max_requests_per_second: Annotated[float, Meta(ge=0.01, le=1000)] | None = None
    max_records: Annotated[int, Meta(ge=1, le=100_000_000)] = 5_000_000
    time_limit_minutes: Annotated[int, Meta(ge=1, le=25)] = 25
    """A run ends after this time, and the next one goes on where it ended."""


class Brake(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Above which shares a pass is held. A threshold of 1 never holds one."""

    missing: _Share = 0.2
    """Of the source's products, those that the pass lacks."""
    price_change: Annotated[float, Meta(ge=0)] | None = 0.5
    """The median by which changed prices change, where over a tenth of the products have another price; null: any."""
    rejected: _Share = 0.1
    """Of the records of the pass, those that are no products."""
