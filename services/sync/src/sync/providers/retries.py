"""When a request is tried again: three tries, pauses that grow by chance, and what Retry-After asks for."""

import re
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import TypeVar

from sync.providers.base import ProviderConfig, ProviderUnavailable

__all__ = ["LONGEST_PAUSE", "TRIES", "pause", "retried", "retry_after"]

TRIES = 3
BACKOFF_BASE = 1.0
BACKOFF_CAP = 30.0
RETRY_AFTER_FLOOR = 0.5
# A source that asks for more is asked again by a later run.
LONGEST_PAUSE = 300.0
YEAR = 365 * 86_400.0

T = TypeVar("T")


async def retried(config: ProviderConfig, work: Callable[[], Awaitable[T]]) -> T:
    """The result of `work`, which is tried again while the source is unavailable."""
    attempt = 1
    while True:
        try:
            return await work()
        except ProviderUnavailable as error:
            if attempt == TRIES or (error.retry_after or 0.0) > LONGEST_PAUSE:
                raise
            await config.sleep(pause(config, attempt, error.retry_after))
            attempt += 1


def pause(config: ProviderConfig, attempt: int, asked: float | None) -> float:
    """Seconds to wait after this attempt: as asked for, or anything up to a bound that doubles (full jitter)."""
    if asked is not None:
        return asked
    return config.rng() * min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** (attempt - 1))


def retry_after(value: str, now: float) -> float | None:
    """Seconds to wait from either form of Retry-After, up to a year; None if it is neither."""
    value = value.strip()
    if re.fullmatch(r"[0-9]+", value):
        seconds = float(value)
    else:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, RETRY_AFTER_FLOOR), YEAR)
