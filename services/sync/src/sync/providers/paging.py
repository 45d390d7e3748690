"""The ways in which APIs page, each a `Paging`. What is found in an answer is found by functions."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import msgspec

from sync.providers.addresses import completed, same_origin
from sync.providers.base import ProviderAnswerInvalid, ProviderPagingError
from sync.providers.http import Answer, JsonClient
from sync.providers.pages import MAX_TOKEN, Place

__all__ = ["CursorPaging", "LinkPaging", "NextURLPaging", "OffsetPaging", "PageNumberPaging", "SinglePage", "next_link"]

Find = Callable[[Any], Any]
Records = Callable[[Any], list[Any]]
Total = Callable[[Any], int | None]
Params = dict[str, str | int]

_LINK = re.compile(r'<([^<>]*)>([^<"]*(?:"[^"]*"[^<"]*)*)')
_REL = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))', re.IGNORECASE)


class SinglePage:
    """Everything in one answer."""

    kind = "none"

    def __init__(self, client: JsonClient, records: Records, total: Total = lambda _: None) -> None:
        self._client = client
        self._records = records
        self._total = total

    async def ask(self, at: Place, size: int, headers: Mapping[str, str]) -> Answer:
        return await self._client.ask(self._client.url.copy_merge_params(self._params(at, size)), headers)

    def records(self, answer: Any) -> list[Any]:
        return self._records(answer)

    def total(self, answer: Any) -> int | None:
        return self._total(answer)

    def following(self, at: Place, after: Place, answer: Answer, count: int, size: int) -> Place | None:
        return None

    def _params(self, at: Place, size: int) -> Params:
        return {}


class OffsetPaging(SinglePage):
    """From a number of records on. A total that is reached by a full page is not believed: one more is asked for."""

    kind = "offset"

    def __init__(
        self,
        client: JsonClient,
        records: Records,
        total: Total,
        *,
        limit_param: str,
        offset_param: str,
    ) -> None:
        super().__init__(client, records, total)
        self._limit_param = limit_param
        self._offset_param = offset_param

    def _params(self, at: Place, size: int) -> Params:
        return {self._limit_param: size, self._offset_param: at.records}

    def following(self, at: Place, after: Place, answer: Answer, count: int, size: int) -> Place | None:
        if not count and after.total is not None and after.records < after.total:
            raise ProviderPagingError(f"The source states {after.total} products and stops after {after.records}.")
        reached = after.total is not None and after.records >= after.total and count != size
        return None if not count or reached else after


class PageNumberPaging(SinglePage):
    """By the number of the page."""

    kind = "page"

    def __init__(
        self,
        client: JsonClient,
        records: Records,
        total: Total,
        *,
        page_param: str,
        size_param: str | None,
        first: int,
    ) -> None:
        super().__init__(client, records, total)
        self._page_param = page_param
        self._size_param = size_param
        self._first = first

    def _params(self, at: Place, size: int) -> Params:
        sized: Params = {self._size_param: size} if self._size_param else {}
        return sized | {self._page_param: self._first + at.pages}

    def following(self, at: Place, after: Place, answer: Answer, count: int, size: int) -> Place | None:
        if not count and after.total is not None and after.pages < after.total:
            raise ProviderPagingError(f"The source states {after.total} pages, and page {after.pages} is empty.")
        # A page behind the last is an error at many sources, so that the stated number is believed.
        reached = after.total is not None and after.pages >= after.total
        return None if not count or reached else after


class CursorPaging(SinglePage):
    """By a token that each answer gives for the next one."""

    kind = "cursor"

    def __init__(
        self,
        client: JsonClient,
        records: Records,
        following: Find,
        *,
        cursor_param: str,
        size_param: str | None,
    ) -> None:
        super().__init__(client, records)
        self._next = following
        self._cursor_param = cursor_param
        self._size_param = size_param

    def _params(self, at: Place, size: int) -> Params:
        sized: Params = {self._size_param: size} if self._size_param else {}
        return sized | ({self._cursor_param: at.token} if at.token else {})

    def following(self, at: Place, after: Place, answer: Answer, count: int, size: int) -> Place | None:
        return _at(after, _token(self._next(answer.value)))


class NextURLPaging(SinglePage):
    """By the address of the next page, which each answer holds."""

    kind = "next_url"

    def __init__(self, client: JsonClient, records: Records, following: Find, size_param: str | None) -> None:
        super().__init__(client, records)
        self._next = following
        self._size_param = size_param

    async def ask(self, at: Place, size: int, headers: Mapping[str, str]) -> Answer:
        base = self._client.url
        if not at.token:
            sized: Params = {self._size_param: size} if self._size_param else {}
            return await self._client.ask(base.copy_merge_params(sized), headers)
        url = same_origin(base, at.token, "The address of the next page")
        return await self._client.ask(completed(url, base), headers)

    def following(self, at: Place, after: Place, answer: Answer, count: int, size: int) -> Place | None:
        found = _token(self._found(answer))
        if not found:
            return None
        base = self._client.url
        here = same_origin(base, at.token, "The address of the page") if at.token else base
        url = same_origin(here, found, "The address of the next page")
        # Kept as a cursor, so that it must not hold a key that the source repeats.
        if base.query:
            url = url.copy_with(params=[(name, it) for name, it in url.params.multi_items() if name not in base.params])
        return _at(after, url.raw_path.decode("ascii"))

    def _found(self, answer: Answer) -> Any:
        return self._next(answer.value)


class LinkPaging(NextURLPaging):
    """By the Link header (RFC 8288)."""

    kind = "link"

    def __init__(self, client: JsonClient, records: Records, size_param: str | None) -> None:
        super().__init__(client, records, lambda _: None, size_param)

    def _found(self, answer: Answer) -> Any:
        return next_link(answer.headers)


def next_link(headers: httpx.Headers) -> str | None:
    """The target of the first link of the Link headers that has rel=next."""
    for target, params in _LINK.findall(headers.get("link", "")[:16_384]):
        found = _REL.search(params)
        if found and "next" in (found[1] or found[2] or "").lower().split():
            return str(target)
    return None


def _token(value: Any) -> str:
    """What leads to the next page as a text; empty at the end."""
    if value is None or value is False:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or len(value) > MAX_TOKEN:
        raise ProviderAnswerInvalid(
            f"What leads to the next page is no text of at most {MAX_TOKEN} characters: check `paging.next`."
        )
    return value


def _at(after: Place, token: str) -> Place | None:
    if len(token) > MAX_TOKEN:  # an address grows when it is encoded
        raise ProviderAnswerInvalid(f"The address of the next page has more than {MAX_TOKEN} characters.")
    return msgspec.structs.replace(after, token=token) if token else None
