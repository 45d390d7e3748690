"""What sync asks of an external API: pages of products, a cursor to resume from, and typed errors.

ProviderError                    retryable = False
├── ProviderUnavailable          retryable = True: no connection, timeout, 5xx, 429 (`retry_after`)
├── ProviderAnswerInvalid        HTML with 200, truncated JSON, wrong structure, too large
├── ProviderRefused              redirect, 401, 403, 404 and every other 4xx; a private address
├── ProviderPagingError          the paging repeats itself or exceeds a limit
└── ProviderMisconfigured        unknown provider name, unusable address, option, credential or cursor
"""

import asyncio
import datetime
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import httpx
import msgspec

from imports.messages import Reject
from imports.product import ExternalProduct

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
]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a pass, and where to go on after it.

    `next_cursor` is None on the last page, and only there: a pass that ends without it is not complete.
    `items` and `rejects` together are at most `ProviderConfig.page_size`, whatever the source sent.
    """

    items: tuple[ExternalProduct, ...]
    rejects: tuple[Reject, ...] = ()
    next_cursor: str | None = None
    dropped_fields: int = 0
    """Optional fields of `items` that were left empty, since what the source said there was not valid."""


class ProviderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the API is and how much of it a pass may read.

    Tests replace `transport`, `sleep`, `rng` and `clock`, so that they need no network and take no time.
    """

    url: str
    options: Mapping[str, Any] = {}
    """What the provider has of its own: plain JSON, checked when the provider is built."""
    since: datetime.datetime | None = None
    """When the last complete pass began: a provider that can reads only what has changed since, and is `partial`."""
    validators: Mapping[str, str] = {}
    """What `validators_of` gave after the last complete pass: a source that has not changed is `SourceUnchanged`."""
    secrets_folder: str | None = None
    """Where the files are that options may refer to for credentials."""
    files_folder: str | None = None
    """Where the files are that a source may be."""
    allow_private: bool = True
    """Whether addresses that are not public, such as 10.0.0.1 or this machine, may be connected to."""
    timeout: float = 30.0
    """Seconds for one whole request, from the connection to the last byte of the body."""
    page_size: int = 100
    """Records to ask for at a time; catalog takes `MAX_ITEMS` in one request, so a larger page needs several."""
    max_pages: int = 100_000
    max_records: int = 5_000_000
    max_page_bytes: int = 10_000_000
    """Bytes of one page after decompression."""
    max_bytes: int = 20_000_000_000
    """Bytes of a whole pass after decompression."""
    max_requests_per_second: float | None = None
    """The most requests that a pass sends, all its tries and details counted."""
    transport: httpx.AsyncBaseTransport | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    rng: Callable[[], float] = random.random
    clock: Callable[[], float] = time.time

    def __repr__(self) -> str:
        """Without the address, which may carry a key."""
        return f"ProviderConfig(page_size={self.page_size}, timeout={self.timeout})"


class SourceUnchanged(Exception):
    """The source says that nothing has changed since `config.validators`: no error, and nothing to read."""


class ProviderError(Exception):
    """A pass cannot go on. The text says what happened and what to do, and holds no secret."""

    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        """Seconds to wait, if the source sent Retry-After; as long as it said, which may be days."""


class ProviderUnavailable(ProviderError):
    """The source did not answer or asked to try later; the page was tried several times already."""

    retryable = True


class ProviderAnswerInvalid(ProviderError):
    """The source answered with something that is not a page of products."""


class ProviderRefused(ProviderError):
    """The source refused the request, or redirects, or is at an address that may not be connected to."""

    def __init__(self, detail: str, *, status: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        """Of the answer, if there was one."""


class ProviderPagingError(ProviderError):
    """The pages do not end, or contradict the stated total."""


class ProviderMisconfigured(ProviderError):
    """No request was sent: the settings of the source are not valid."""


@runtime_checkable
class ExternalAPIProvider(Protocol):
    """One external API. Built by `Provider(config: ProviderConfig)`, used by one task at a time.

    One that has options declares them as `Options`, a msgspec.Struct, and reads `config.options` when it is built.
    Register a class under the entry point group `products.providers`, and test it with
    `sync.testing.ProviderContract`.
    """

    name: ClassVar[str]

    def pages(self, cursor: str | None = None) -> AsyncIterator[Page]:
        """Every product from the start, or from after the page whose `next_cursor` this is.

        Raises a `ProviderError`, or `SourceUnchanged` where `config.validators` are given; a single bad record is a
        `Reject` on its page and never an error.
        The same product may come twice. At least one page is yielded, empty if the source is.
        """
        ...

    async def validate(self) -> None:
        """Read one small page; raise the `ProviderError` that tells an operator what to change."""
        ...

    async def aclose(self) -> None:
        """Close the connections; may be called more than once."""
        ...
