"""A request of its own for each record, where the list of an API does not say everything."""

import asyncio
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import msgspec
from msgspec import Meta

from imports.messages import MAX_ITEMS
from sync.providers.addresses import completed, same_origin
from sync.providers.base import (
    ProviderAnswerInvalid,
    ProviderMisconfigured,
    ProviderPagingError,
    ProviderRefused,
)
from sync.providers.expressions import compiled
from sync.providers.http import JsonClient
from sync.providers.mapping import MappingOptions, reader
from sync.providers.records import InvalidRecord, parse_id

__all__ = ["DetailOptions", "Details"]


class DetailOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is found is laid over the record before it is mapped."""

    url: Annotated[str, Meta(min_length=1, max_length=2_000)]
    """With `{id}`, which is the record's external_id; on the same server as the source."""
    concurrency: Annotated[int, Meta(ge=1, le=8)] = 4
    item: Annotated[str, Meta(max_length=500)] = "@"
    """JMESPath of the object in the answer."""


class Details:
    """Fetches the details of a page's records, a few at a time."""

    def __init__(self, options: DetailOptions, mapping: MappingOptions, client: JsonClient, base: httpx.URL) -> None:
        self._template = options.url
        self._concurrency = options.concurrency
        self._item = compiled(options.item, "detail.item")
        self._id = reader(mapping.external_id, "mapping.external_id")
        self._client = client
        self._base = base
        if options.url.count("{id}") != 1:
            raise ProviderMisconfigured("options.detail.url: must hold {id} once.")
        try:
            self._url("1")
        except ProviderRefused as error:
            raise ProviderMisconfigured(f"options.detail.url: {error.detail}") from None

    async def merged(self, records: list[Any]) -> list[Any]:
        """The records with their details, in their order. One whose detail is gone or unfit stays as it is."""
        if len(records) > MAX_ITEMS:
            raise ProviderPagingError(
                f"More than {MAX_ITEMS} records on a page that each need a request: page smaller."
            )
        queue = iter(range(len(records)))
        found = list(records)

        async def work() -> None:
            for index in queue:
                found[index] = await self._merge(records[index])

        async with _Group() as group:
            for _ in range(min(self._concurrency, len(records))):
                group.create_task(work())
        return found

    async def _merge(self, record: Any) -> Any:
        try:
            external_id = parse_id(self._id.read(record, "id")) if isinstance(record, dict) else ""
        except InvalidRecord:
            return record
        if external_id in {"", ".", ".."}:
            return record
        try:
            answer = await self._client.ask(self._url(external_id))
        except ProviderRefused as error:
            if error.status in {404, 410}:
                return record  # gone since the list was made
            raise
        detail = self._item(answer.value)
        if not isinstance(detail, dict):
            raise ProviderAnswerInvalid("options.detail.item finds no object in the answer.")
        return record | detail

    def _url(self, external_id: str) -> httpx.URL:
        url = same_origin(self._base, self._template.replace("{id}", quote(external_id, safe="")), "This address")
        return completed(url, self._base)


class _Group(asyncio.TaskGroup):
    """Tasks of which the first error is the error of all."""

    async def __aexit__(self, *exc: Any) -> None:
        try:
            await super().__aexit__(*exc)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
