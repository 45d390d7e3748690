"""Any API that answers JSON to GET: where its products are, how it pages and what is what are options.

`docs/providers.md` has an example of each.
"""

import datetime
from typing import Annotated, Any, ClassVar, Literal

import httpx
import msgspec
from msgspec import Meta

from sync.providers.addresses import parse_address, shown
from sync.providers.base import ProviderAnswerInvalid, ProviderConfig
from sync.providers.credentials import (
    AUTH_KINDS,
    CREDENTIAL_OPTIONS,
    Auth,
    NoAuth,
    check_constants,
    credentials,
)
from sync.providers.details import DetailOptions, Details
from sync.providers.expressions import Expression, compiled
from sync.providers.http import JsonClient
from sync.providers.mapping import MappingOptions, Path, mapper
from sync.providers.options import kinds, read
from sync.providers.pages import PagedProvider, Paging
from sync.providers.paging import CursorPaging, LinkPaging, NextURLPaging, OffsetPaging, PageNumberPaging, SinglePage
from sync.providers.secrets import Reference, resolve

__all__ = ["Query", "Rest", "with_query"]

Query = Annotated[dict[str, str | int | Reference], Meta(max_length=50)]
Param = Annotated[str, Meta(min_length=1, max_length=100)]


class NoPaging(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="none"):
    """Everything in one answer."""


class Offset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="offset"):
    """From a number of records on; without a `total` until a page is empty."""

    limit_param: Param = "limit"
    offset_param: Param = "offset"
    total: Path | None = None


class PageNumber(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="page"):
    """By the number of the page; without `total_pages` until a page is empty."""

    page_param: Param = "page"
    size_param: Param | None = None
    first: Annotated[int, Meta(ge=0, le=1)] = 1
    total_pages: Path | None = None


class Cursor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="cursor"):
    """By a token that each answer gives for the next one; null, false, absent or empty at the end."""

    cursor_param: Param = "cursor"
    next: Path
    size_param: Param | None = None


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="link"):
    """By the header `Link: <...>; rel="next"` (RFC 8288)."""

    size_param: Param | None = None


class NextURL(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="next_url"):
    """By the address of the next page in the answer; null, absent or empty at the end."""

    next: Path
    size_param: Param | None = None


class Incremental(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What has changed since the last complete pass, by a parameter; not what is gone."""

    param: Param
    lag_seconds: Annotated[int, Meta(ge=0, le=604_800)] = 300
    """So much earlier, for changes that the source shows late."""
    format: Literal["iso", "unix"] = "iso"


PAGING_KINDS = (NoPaging, Offset, PageNumber, Cursor, Link, NextURL)


class RestOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The options of `rest`."""

    mapping: MappingOptions
    items: Annotated[str, Meta(max_length=500, description="JMESPath of the list of records.")] = "@"
    paging: NoPaging | Offset | PageNumber | Cursor | Link | NextURL = NoPaging()
    auth: Auth = NoAuth()
    query: Query = {}
    """Parameters of every request."""
    headers: Annotated[dict[str, str], Meta(max_length=50)] = {}
    """Headers of every request, none of which is a credential."""
    detail: DetailOptions | None = None
    incremental: Incremental | None = None


class Rest(PagedProvider):
    """Products of an API that is described by `config.options`; `config.url` is that of its first page."""

    name: ClassVar[str] = "rest"
    Options = RestOptions

    def __init__(self, config: ProviderConfig) -> None:
        choices = {
            "paging.kind": kinds(*PAGING_KINDS),
            "auth.kind": kinds(*AUTH_KINDS),
            "incremental.format": ("iso", "unix"),
        }
        options = read(config.options, RestOptions, choices=choices, credentials=CREDENTIAL_OPTIONS)
        check_constants(options.headers, options.query)
        base = with_query(config, options.query)
        since = _since(config, options.incremental)
        client = JsonClient(
            msgspec.structs.replace(config, url=str(base.copy_merge_params(since) if since else base)),
            credentials(options.auth, config),
            options.headers,
        )
        super().__init__(config, client, _paging(options, client), mapper(options.mapping, shown(base)))
        self._details = Details(options.detail, options.mapping, client, base) if options.detail else None
        self.partial = bool(since)
        if options.detail or since:
            self._condition = None

    async def _expand(self, records: list[Any]) -> list[Any]:
        return records if self._details is None else await self._details.merged(records)


def _since(config: ProviderConfig, options: Incremental | None) -> dict[str, str]:
    """The parameter that asks for changes alone; none where everything is wanted."""
    if options is None or config.since is None:
        return {}
    since = config.since.astimezone(datetime.UTC) - datetime.timedelta(seconds=options.lag_seconds)
    if options.format == "unix":
        return {options.param: str(int(since.timestamp()))}
    return {options.param: since.strftime("%Y-%m-%dT%H:%M:%SZ")}


def with_query(config: ProviderConfig, options: Query) -> httpx.URL:
    """The address with the parameters of every request."""
    query = {
        name: resolve(value, config, f"query.{name[:100]}").reveal() if isinstance(value, Reference) else value
        for name, value in options.items()
    }
    url = parse_address(config.url)
    return url.copy_merge_params(query) if query else url


def _paging(options: RestOptions, client: JsonClient) -> Paging:
    records = _Records(compiled(options.items, "items"))
    match options.paging:
        case Offset() as offset:
            total = _Total(offset.total, "paging.total")
            return OffsetPaging(
                client, records, total, limit_param=offset.limit_param, offset_param=offset.offset_param
            )
        case PageNumber() as page:
            total = _Total(page.total_pages, "paging.total_pages")
            return PageNumberPaging(
                client, records, total, page_param=page.page_param, size_param=page.size_param, first=page.first
            )
        case Cursor() as cursor:
            following = compiled(cursor.next, "paging.next")
            return CursorPaging(
                client, records, following, cursor_param=cursor.cursor_param, size_param=cursor.size_param
            )
        case Link() as link:
            return LinkPaging(client, records, link.size_param)
        case NextURL() as url:
            return NextURLPaging(client, records, compiled(url.next, "paging.next"), url.size_param)
    return SinglePage(client, records)


class _Records:
    def __init__(self, find: Expression) -> None:
        self._find = find

    def __call__(self, answer: Any) -> list[Any]:
        found = self._find(answer)
        if not isinstance(found, list):
            raise ProviderAnswerInvalid("options.items finds no list in the answer: check the address and `items`.")
        return found


class _Total:
    """A number that the answer states, if there is an option that says where."""

    def __init__(self, path: str | None, option: str) -> None:
        self._find = compiled(path, option) if path is not None else None
        self._option = option

    def __call__(self, answer: Any) -> int | None:
        if self._find is None:
            return None
        found = self._find(answer)
        if isinstance(found, str) and len(found) <= 18 and found.isascii() and found.isdigit():
            found = int(found)
        if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < 10**18:
            raise ProviderAnswerInvalid(f"options.{self._option} finds no whole number in the answer.")
        return found
