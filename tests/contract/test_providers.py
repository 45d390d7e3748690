"""The shipped contract kit: what it accepts, and that it can say no."""

import asyncio
import base64
import re
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, ClassVar

import httpx
import msgspec
import pytest

from sync.providers import (
    ExternalAPIProvider,
    ExternalProduct,
    Page,
    ProviderAnswerInvalid,
    ProviderConfig,
    ProviderMisconfigured,
    ProviderPagingError,
    ProviderUnavailable,
    known,
    load,
)
from sync.providers.contract import ContractBroken, ProviderContract, check
from sync.providers.dummyjson import DummyJSON
from sync.providers.http import JsonClient
from sync.providers.records import BadRecord, identity, money, reject, text


class TestDummyJSON(ProviderContract):
    def make(self, config: ProviderConfig) -> ExternalAPIProvider:
        return DummyJSON(config)

    def record(self, number: int) -> dict[str, Any]:
        return {"id": number, "title": f"Lamp {number}", "price": 9.99, "category": "lights", "rating": 4.5}

    def bad_records(self) -> list[Any]:
        good = self.record(90)
        return [
            good | {"id": None},
            good | {"id": True},
            good | {"id": 1.5},
            good | {"price": -1},
            good | {"price": "12,5"},
            good | {"price": 0.001},
            good | {"price": 1e308},
            good | {"title": " "},
            good | {"title": "x" * 100_000},
            good | {"title": "a\x00b"},
            good | {"category": None},
            good | {"thumbnail": "javascript:alert(1)"},
            good | {"stock": -1},
        ]

    def serve(self, request: httpx.Request, records: list[Any]) -> httpx.Response:
        skip, limit = (int(request.url.params[name]) for name in ("skip", "limit"))
        found = records[skip : skip + limit]
        return httpx.Response(200, json={"products": found, "total": len(records), "skip": skip, "limit": len(found)})


class TokenShop:
    """An API that pages by an opaque token and calls everything by other names."""

    name: ClassVar[str] = "token-shop"

    def __init__(self, config: ProviderConfig) -> None:
        self._config = config
        self._client = JsonClient(config)

    async def pages(self, cursor: str | None = None) -> AsyncIterator[Page]:
        seen = {cursor}
        while True:
            answer = await self._ask(cursor)
            cursor = answer.get("next")
            if cursor is not None and cursor in seen:
                raise ProviderPagingError("This token came before.")
            seen.add(cursor)
            yield self._page(answer["data"], cursor)
            if cursor is None:
                return

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
            except BadRecord as error:
                rejects.append(reject(record, str(error), id_field="code"))
        return Page(items=tuple(items), rejects=tuple(rejects), next_cursor=cursor)

    def _product(self, record: Any) -> ExternalProduct:
        if not isinstance(record, dict):
            raise BadRecord("record", "must be an object")
        return ExternalProduct(
            external_id=identity(record.get("code"), "code"),
            name=text(record.get("label"), "label", most=300),
            price=money(record.get("amount"), "amount"),
            currency="EUR",
            category="all",
        )


class TokenShopContract(ProviderContract):
    kind: ClassVar[type[TokenShop]] = TokenShop

    def make(self, config: ProviderConfig) -> ExternalAPIProvider:
        return self.kind(config)

    def record(self, number: int) -> dict[str, Any]:
        return {"code": f"A-{number}", "label": "Lamp", "amount": "12.50"}

    def bad_records(self) -> list[Any]:
        return [self.record(90) | {"amount": "12,50"}, self.record(91) | {"code": ""}]

    def serve(self, request: httpx.Request, records: list[Any]) -> httpx.Response:
        token, size = request.url.params.get("token"), int(request.url.params["size"])
        start = int(base64.b64decode(token)) if token else 0
        more = start + size < len(records)
        answer: dict[str, Any] = {"data": records[start : start + size]}
        if more:
            answer["next"] = base64.b64encode(str(start + size).encode()).decode()
        return httpx.Response(200, json=answer)


class TestTokenShop(TokenShopContract):
    pass


class LosesTheLastPage(TokenShop):
    async def pages(self, cursor: str | None = None) -> AsyncIterator[Page]:
        async for page in super().pages(cursor):
            if page.next_cursor is not None:
                yield page


class StartsAgain(TokenShop):
    def pages(self, cursor: str | None = None) -> AsyncIterator[Page]:
        return super().pages(None)


class FloatPrices(TokenShop):
    def _product(self, record: Any) -> ExternalProduct:
        return msgspec.structs.replace(super()._product(record), price=12.5)


class RawPrices(TokenShop):
    def _product(self, record: Any) -> ExternalProduct:
        return msgspec.structs.replace(super()._product(record), price=Decimal("12.501"))


class DropsBadRecords(TokenShop):
    def _page(self, records: list[Any], cursor: str | None) -> Page:
        return Page(items=super()._page(records, cursor).items, next_cursor=cursor)


class DiesOfBadRecords(TokenShop):
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
        self._client._client.follow_redirects = True


BROKEN = {
    LosesTheLastPage: "keeps 8 good records, not 7",
    StartsAgain: "resumes after page 1 with exactly the rest",
    FloatPrices: "prices as Decimal",
    RawPrices: "at most 2 places",
    DropsBadRecords: "rejects 8 bad records, not 0",
    DiesOfBadRecords: "BadRecord",
    CallsEverythingUnavailable: "not ProviderUnavailable",
    EndsQuietly: "instead of going on",
    WalksInCircles: "comes to an end",
    WalksInCirclesSilently: "more than 300 requests",
    SwallowsCancellation: "lets a cancellation through",
    LeavesATask: "leaves no task behind",
    ShowsSecrets: "no secret",
    HasNoName: "has a name",
    FollowsRedirects: "followed a redirect to elsewhere.test",
}


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
async def test_the_kit_refuses(kind: type[TokenShop]) -> None:
    contract = TokenShopContract()
    contract.kind = kind  # type: ignore[misc]
    before = asyncio.all_tasks()
    with pytest.raises((AssertionError, BadRecord)) as caught:
        await check(contract)
    for task in asyncio.all_tasks() - before:
        task.cancel()
    assert re.search(BROKEN[kind], f"{type(caught.value).__name__}: {caught.value}")


async def test_the_kit_accepts_as_a_whole() -> None:
    await check(TokenShopContract())


async def test_the_kit_does_not_need_pytest() -> None:
    code = "import sys, sync.providers.contract; sys.exit('pytest' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0


def test_the_kit_raises_assertion_errors() -> None:
    assert issubclass(ContractBroken, AssertionError)


def test_load_finds_what_is_installed() -> None:
    assert "dummyjson" in known()
    provider = load("dummyjson", ProviderConfig(url="https://source.test/products"))
    assert isinstance(provider, DummyJSON)


def test_load_names_what_there_is() -> None:
    with pytest.raises(ProviderMisconfigured, match=r"no provider 'dummy'.*dummyjson"):
        load("dummy", ProviderConfig(url="https://source.test/products"))
