"""What the providers of paged APIs share: cursors, the end of a pass, its caps, and the guard against loops."""

import hashlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Protocol

import msgspec
from msgspec import Meta

from sync.providers.base import (
    Page,
    ProviderAnswerInvalid,
    ProviderConfig,
    ProviderMisconfigured,
    ProviderPagingError,
    ProviderRefused,
    SourceUnchanged,
)
from sync.providers.conditions import Condition
from sync.providers.http import Answer, JsonClient
from sync.providers.records import Mapped

__all__ = ["MAX_TOKEN", "PagedProvider", "Paging", "Place", "as_page", "check_first"]

log = logging.getLogger(__name__)

MAX_TOKEN = 4_000
_Count = Annotated[int, Meta(ge=0, lt=10**18)]


class Place(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a pass is, with what the checks for loops and limits need, so that they also work after a resume."""

    kind: str
    token: Annotated[str, Meta(max_length=MAX_TOKEN)] = ""
    """How the source calls this place, if it does."""
    pages: _Count = 0
    records: _Count = 0
    size: _Count = 0
    total: _Count | None = None
    mark: Annotated[str, Meta(pattern="^([0-9a-f]{16})?$", max_length=16)] = ""
    within: _Count = 0
    """Records of the answer at this place that were yielded already."""

    @classmethod
    def read(cls, cursor: str | None, kind: str) -> "Place":
        if cursor is None:
            return cls(kind)
        try:
            place = msgspec.json.decode(cursor, type=cls)
        except (msgspec.DecodeError, UnicodeError):
            place = None
        if place is None or place.kind != kind:
            raise ProviderMisconfigured("This cursor is not one of this provider: start the pass anew.")
        return place

    def write(self) -> str:
        return msgspec.json.encode(self).decode()


class Paging(Protocol):
    """How a source is asked for its pages."""

    kind: str

    async def ask(self, at: Place, size: int, headers: Mapping[str, str]) -> Answer:
        """The answer at this place, asked for with these headers; `size` records are wanted."""
        ...

    def records(self, answer: Any) -> list[Any]:
        """The records of an answer, or `ProviderAnswerInvalid`."""
        ...

    def total(self, answer: Any) -> int | None:
        """How many records, or pages, the answer says that there are."""
        ...

    def following(self, at: Place, after: Place, answer: Answer, count: int, size: int) -> Place | None:
        """Where to go on, None at the end. `after` has the counts with this answer's, which has `count` records."""
        ...


class PagedProvider:
    """A provider of an API that answers in pages: derive from it, and call `__init__` with how.

    A pass ends with an error, and never as if it were complete, when the source repeats itself or has no end.
    """

    name: ClassVar[str]
    partial = False
    """Whether a pass is of changes since `config.since` alone."""

    def __init__(
        self, config: ProviderConfig, client: JsonClient, paging: Paging, read: Callable[[Any], Mapped]
    ) -> None:
        self._config = config
        self._client = client
        self._paging = paging
        self._read = read
        self._condition = Condition(config) if paging.kind == "none" else None
        self.validators: dict[str, str] = {}
        """Of a source that is one answer, after a complete pass from the start."""

    async def pages(self, cursor: str | None = None) -> AsyncIterator[Page]:
        """Every product, `page_size` at a time; see `ExternalAPIProvider`."""
        at = Place.read(cursor, self._paging.kind)
        seen = {hash(at.mark), hash(at.token)}
        while True:
            before = self._client.received
            answer = await self._ask(at, first=cursor is None)
            records = await self._expand(self._paging.records(answer.value))
            found = [self._read(record) for record in records]
            after = self._after(at, answer, found, self._client.received - before)
            if found and hash(after.mark) in seen:
                if at.total is None or at.records < at.total:
                    raise ProviderPagingError(f"The page after {at.records} records came before: paging is ignored.")
                # All stated products are read, and the source repeats itself.
                yield Page(items=())
                return
            following = self._following(at, after, answer, len(found))
            if following is not None and following.token and hash(following.token) in seen:
                raise ProviderPagingError(f"The page after {after.records} records leads back to one before it.")
            for page in self._split(at, found, following):
                yield page
            if following is None:
                return
            seen |= {hash(after.mark), hash(following.token)}
            at = following

    async def validate(self) -> None:
        """Read a few products; raises what `pages` would, and if none of the first five is a product."""
        check_first([mapped for _, mapped in await self.first(5)])

    async def first(self, count: int) -> list[tuple[Any, Mapped]]:
        """The first records as they came, and what becomes of them."""
        answer = await self._paging.ask(Place(self._paging.kind), min(count, self._config.page_size), {})
        records = await self._expand(self._paging.records(answer.value)[:count])
        return [(record, self._read(record)) for record in records]

    async def _ask(self, at: Place, *, first: bool) -> Answer:
        """The answer at this place; one that is all of a source is asked for if it has changed."""
        condition = self._condition if first else None
        headers = condition.headers() if condition is not None else {}
        try:
            answer = await self._paging.ask(at, self._config.page_size, headers)
        except ProviderRefused as error:
            if error.status == 304 and headers:
                raise SourceUnchanged from None
            raise
        if condition is not None:
            self.validators = condition.of(answer.headers)
        return answer

    async def aclose(self) -> None:
        """Close the connections; may be called more than once."""
        await self._client.aclose()

    async def _expand(self, records: list[Any]) -> list[Any]:
        """What else the source says of these records, for a provider that asks for it."""
        return records

    def _after(self, at: Place, answer: Answer, found: list[Mapped], size: int) -> Place:
        mark = hashlib.sha256()
        for each in found:
            mark.update(each.identity.encode() + b"\n")
        return Place(
            kind=at.kind,
            pages=at.pages + 1,
            records=at.records + len(found),
            size=at.size + size,
            total=self._paging.total(answer.value),
            mark=mark.hexdigest()[:16],
        )

    def _following(self, at: Place, after: Place, answer: Answer, count: int) -> Place | None:
        """Where to go on; to end at a cap without an error would look like a complete pass, which is merged."""
        config = self._config
        following = self._paging.following(at, after, answer, count, config.page_size)
        if (count or following) and after.pages > config.max_pages:
            raise ProviderPagingError(f"No end after {config.max_pages} pages: check the provider's paging.")
        if after.records > config.max_records:
            raise ProviderPagingError(f"No end after {config.max_records} records: check the provider's paging.")
        if after.size > config.max_bytes:
            raise ProviderPagingError(f"No end after {config.max_bytes} bytes: check the provider's paging.")
        return following

    def _split(self, at: Place, found: list[Mapped], following: Place | None) -> Iterator[Page]:
        """The answer as pages of our size: a source may send more than it is asked for."""
        size = self._config.page_size
        cursor = following.write() if following is not None else None
        # At least one page, also where a resume finds less than there was.
        for start in range(at.within, max(len(found), at.within + 1), size):
            end = start + size
            within = msgspec.structs.replace(at, within=end).write() if end < len(found) else cursor
            yield as_page(found[start:end], within)


def check_first(found: list[Mapped]) -> None:
    """Raises if there are records, and none of them is a product."""
    rejects = [each.reject for each in found if each.reject is not None]
    if rejects and len(rejects) == len(found):
        raise ProviderAnswerInvalid(f"None of the first {len(found)} records is a product ({rejects[0].reason}).")


def as_page(found: list[Mapped], cursor: str | None) -> Page:
    """The records as a page; fields that were left empty are logged once for all of it."""
    dropped = Counter(field for each in found for field in each.dropped)
    if dropped:
        fields = ", ".join(f"{field} ({count})" for field, count in dropped.most_common(20))
        log.warning("optional fields that are not valid were left empty: %s", fields)
    return Page(
        items=tuple(each.product for each in found if each.product is not None),
        rejects=tuple(each.reject for each in found if each.reject is not None),
        next_cursor=cursor,
        dropped_fields=dropped.total(),
    )
