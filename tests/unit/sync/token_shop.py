"""A provider that pages by a token, and copies of it that each break one promise of the contract."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, ClassVar

import msgspec

from sync.providers import (
    ExternalProduct,
    Page,
    ProviderAnswerInvalid,
    ProviderConfig,
    ProviderPagingError,
    ProviderUnavailable,
)
from sync.providers.http import JsonClient
from sync.providers.records import InvalidRecord, parse_id, parse_price, parse_text, reject


class TokenShop:
    """An API that pages by an opaque token and calls everything by other names."""

    name: ClassVar[str] = "token-shop"

    def __init__(self, config: ProviderConfig) -> None:
        self._config = config
        self._client = JsonClient(config)

    async def pages(self, cursor: str | None = None) -> AsyncIterator[Page]:
        seen, records = {cursor}, 0
        while True:
            answer = await self._ask(cursor)
            cursor = answer.get("next")
            records += len(answer["data"])
            self._check_end(len(seen), records)
            if cursor is not None and cursor in seen:
                raise ProviderPagingError("This token came before.")
            seen.add(cursor)
            yield self._page(answer["data"], cursor)
            if cursor is None:
                return

    def _check_end(self, pages: int, records: int) -> None:
        if pages > self._config.max_pages or records > self._config.max_records:
            raise ProviderPagingError("There is no end.")

    async def validate(self) -> None:
        await self._ask(None)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _ask(self, token: str | None) -> dict[str, Any]:
        answer = await self._client.get({"size": self._config.page_size} | ({"token": token} if token else {}))
        if not isinstance(answer, dict) or not isinstance(answer.get("data"), list):
            raise ProviderAnswerInvalid("This is not a token shop.")
        return answer

    def _page(self, records: list[Any], cursor: str | None) -> Page:
        items, rejects = [], []
        for record in records:
            try:
                items.append(self._product(record))
            except InvalidRecord as error:
                rejects.append(reject(record, str(error), id_field="code"))
        return Page(items=tuple(items), rejects=tuple(rejects), next_cursor=cursor)

    def _product(self, record: Any) -> ExternalProduct:
        if not isinstance(record, dict):
            raise InvalidRecord("record", "must be an object")
        return ExternalProduct(
            external_id=parse_id(record.get("code")),
            name=parse_text(record.get("label"), "name"),
            price=parse_price(record.get("amount")),
            currency="EUR",
            category="all",
        )


class LosesTheLastPage(TokenShop):
    async def pages(self, cursor: str | None = None) -> AsyncIterator[Page]:
        async for page in super().pages(cursor):
            if page.next_cursor is not None:
                yield page


class OnePage(TokenShop):
    """All at once, however much it is."""

    async def pages(self, cursor: str | None = None) -> AsyncIterator[Page]:
        pages = [page async for page in super().pages(cursor)]
        yield Page(
            items=tuple(item for page in pages for item in page.items),
            rejects=tuple(each for page in pages for each in page.rejects),
        )


class StartsAgain(TokenShop):
    def pages(self, cursor: str | None = None) -> AsyncIterator[Page]:
        return super().pages(None)


class FloatPrices(TokenShop):
    def _product(self, record: Any) -> ExternalProduct:
        return msgspec.structs.replace(super()._product(record), price=12.5)


class RawPrices(TokenShop):
    def _product(self, record: Any) -> ExternalProduct:
        return msgspec.structs.replace(super()._product(record), price=Decimal("12.501"))


class DropsInvalidRecords(TokenShop):
    def _page(self, records: list[Any], cursor: str | None) -> Page:
        return Page(items=super()._page(records, cursor).items, next_cursor=cursor)


class DiesOfInvalidRecords(TokenShop):
    def _page(self, records: list[Any], cursor: str | None) -> Page:
        return Page(items=tuple(self._product(record) for record in records), next_cursor=cursor)


class CallsEverythingUnavailable(TokenShop):
    async def _ask(self, token: str | None) -> dict[str, Any]:
        try:
            return await super()._ask(token)
        except Exception:
            raise ProviderUnavailable("Something is wrong.") from None


class EndsQuietly(TokenShop):
    """A failed page looks like the end: the rest of the catalog would be removed."""

    async def pages(self, cursor: str | None = None) -> AsyncIterator[Page]:
        yielded = False
        try:
            async for page in super().pages(cursor):
                yielded = True
                yield page
        except ProviderUnavailable:
            if not yielded:
                raise
            yield Page(items=())


class WalksInCircles(TokenShop):
    async def pages(self, cursor: str | None = None) -> AsyncIterator[Page]:
        while True:
            answer = await self._ask(cursor)
            cursor = answer.get("next")
            yield self._page(answer["data"], cursor)
            if cursor is None:
                return


class HasNoEnd(TokenShop):
    def _check_end(self, pages: int, records: int) -> None: ...


class WalksInCirclesSilently(TokenShop):
    """It never even yields, so only the kit's own bound on requests ends it."""

    async def pages(self, cursor: str | None = None) -> AsyncIterator[Page]:
        found: list[Any] = []
        while True:
            answer = await self._ask(cursor)
            found += answer["data"]
            cursor = answer.get("next")
            if cursor is None:
                yield self._page(found, None)
                return


class SwallowsCancellation(TokenShop):
    async def _ask(self, token: str | None) -> dict[str, Any]:
        try:
            return await super()._ask(token)
        except asyncio.CancelledError:
            return {"data": []}


class LeavesATask(TokenShop):
    async def _ask(self, token: str | None) -> dict[str, Any]:
        self._task = asyncio.create_task(asyncio.Event().wait())
        return await super()._ask(token)


class ShowsSecrets(TokenShop):
    async def validate(self) -> None:
        try:
            await super().validate()
        except Exception as error:
            raise type(error)(f"{self._config.url} failed") from error


class HasNoName(TokenShop):
    name: ClassVar[str] = ""


class FollowsRedirects(TokenShop):
    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self._client._connection._client.follow_redirects = True


BROKEN = {
    LosesTheLastPage: "keeps 8 good records, not 7",
    OnePage: "keeps to the page size",
    StartsAgain: "resumes after page 1 with exactly the rest",
    FloatPrices: "prices as Decimal",
    RawPrices: "price: must have at most 2 decimal places",
    DropsInvalidRecords: "rejects 8 bad records, not 0",
    DiesOfInvalidRecords: "InvalidRecord",
    CallsEverythingUnavailable: "not ProviderUnavailable",
    EndsQuietly: "instead of going on",
    HasNoEnd: "instead of going on",
    WalksInCircles: "comes to an end",
    WalksInCirclesSilently: "more than 300 requests",
    SwallowsCancellation: "lets a cancellation through",
    LeavesATask: "leaves no task behind",
    ShowsSecrets: "no secret",
    HasNoName: "has a name",
    FollowsRedirects: "followed a redirect to elsewhere.test",
}
