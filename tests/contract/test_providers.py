"""The shipped contract kit: what it accepts, and that it can say no."""

import asyncio
import base64
import re
import sys
from pathlib import Path
from typing import Any, ClassVar

import httpx
import msgspec
import pytest

from sync.providers import (
    ExternalAPIProvider,
    ProviderConfig,
    ProviderMisconfigured,
    known,
    load,
)
from sync.providers.dummyjson import DummyJSON
from sync.providers.fakestore import FakeStore
from sync.providers.file import File
from sync.providers.records import InvalidRecord
from sync.providers.rest import Rest
from sync.testing import ContractBroken, ProviderContract, check
from tests.unit.sync.token_shop import BROKEN, TokenShop


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
        ]

    def serve(self, request: httpx.Request, records: list[Any]) -> httpx.Response:
        skip, limit = (int(request.url.params[name]) for name in ("skip", "limit"))
        found = records[skip : skip + limit]
        return httpx.Response(200, json={"products": found, "total": len(records), "skip": skip, "limit": len(found)})


class TestFakeStore(ProviderContract):
    paged = False

    def make(self, config: ProviderConfig) -> ExternalAPIProvider:
        return FakeStore(config)

    def record(self, number: int) -> dict[str, Any]:
        rating = {"rate": 3.9, "count": 120}
        return {"id": number, "title": "Cup", "price": 9.9, "category": "cups", "image": "/a.webp", "rating": rating}

    def bad_records(self) -> list[Any]:
        good = self.record(90)
        return [good | {"id": None}, good | {"price": "9,9"}, good | {"title": ""}, good | {"category": 7}]

    def serve(self, request: httpx.Request, records: list[Any]) -> httpx.Response:
        return httpx.Response(200, json=records)


class MappedContract(ProviderContract):
    """Records that mean nothing without a mapping."""

    mapping: ClassVar[dict[str, Any]] = {
        "external_id": "code",
        "name": "label",
        "price": "amount",
        "category": {"const": "all"},
    }

    def record(self, number: int) -> dict[str, Any]:
        return {"code": f"A-{number}", "label": "Lamp", "amount": "12.50"}

    def bad_records(self) -> list[Any]:
        return [self.record(90) | {"amount": "12,50"}, self.record(91) | {"code": ""}, self.record(92) | {"label": []}]


class RestContract(MappedContract):
    paging: ClassVar[dict[str, Any]]

    def make(self, config: ProviderConfig) -> ExternalAPIProvider:
        options = {"mapping": self.mapping, "items": "data", "paging": self.paging}
        return Rest(msgspec.structs.replace(config, options=options))

    def serve(self, request: httpx.Request, records: list[Any]) -> httpx.Response:
        params = request.url.params
        size, start = (
            int(params["size"]),
            int(params.get("start", 0)) + int(params.get("page", 0)) * int(params["size"]),
        )
        answer: dict[str, Any] = {"data": records[start : start + size], "count": len(records)}
        headers = {}
        if start + size < len(records):
            answer["next"] = str(start + size)
            answer["url"] = f"?start={start + size}&size={size}"
            headers["link"] = f'<{answer["url"]}>; rel="next"'
        return httpx.Response(200, json=answer, headers=headers)


class TestRestByOffset(RestContract):
    paging: ClassVar[dict[str, Any]] = {"kind": "offset", "limit_param": "size", "offset_param": "start"}


class TestRestByOffsetWithTotal(RestContract):
    paging: ClassVar[dict[str, Any]] = TestRestByOffset.paging | {"total": "count"}


class TestRestByPage(RestContract):
    paging: ClassVar[dict[str, Any]] = {"kind": "page", "size_param": "size", "first": 0}


class TestRestByCursor(RestContract):
    paging: ClassVar[dict[str, Any]] = {
        "kind": "cursor",
        "cursor_param": "start",
        "size_param": "size",
        "next": "next",
    }


class TestRestByLink(RestContract):
    paging: ClassVar[dict[str, Any]] = {"kind": "link", "size_param": "size"}


class TestRestByNextURL(RestContract):
    paging: ClassVar[dict[str, Any]] = {"kind": "next_url", "size_param": "size", "next": "url"}


class TestRestWithoutPaging(RestContract):
    paged = False
    paging: ClassVar[dict[str, Any]] = {"kind": "none"}

    def serve(self, request: httpx.Request, records: list[Any]) -> httpx.Response:
        return httpx.Response(200, json={"data": records})


class TestFile(MappedContract):
    paged = False

    def make(self, config: ProviderConfig) -> ExternalAPIProvider:
        return File(msgspec.structs.replace(config, options={"mapping": self.mapping, "format": "json"}))

    def serve(self, request: httpx.Request, records: list[Any]) -> httpx.Response:
        return httpx.Response(200, json=records, headers={"etag": '"1"'})


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


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
async def test_the_kit_refuses(kind: type[TokenShop]) -> None:
    contract = TokenShopContract()
    contract.kind = kind  # type: ignore[misc]
    before = asyncio.all_tasks()
    with pytest.raises((AssertionError, InvalidRecord)) as caught:
        await check(contract)
    for task in asyncio.all_tasks() - before:
        task.cancel()
    assert re.search(BROKEN[kind], f"{type(caught.value).__name__}: {caught.value}")


async def test_the_kit_accepts_as_a_whole() -> None:
    await check(TokenShopContract())


async def test_the_kit_does_not_need_pytest() -> None:
    code = "import sys, sync.testing; sys.exit('pytest' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0


def test_the_kit_raises_assertion_errors() -> None:
    assert issubclass(ContractBroken, AssertionError)


async def test_a_worker_and_a_plain_provider_stay_small() -> None:
    """A worker imports no provider, and one without a mapping no JMESPath."""
    code = (
        "import sys, sync.worker\n"
        "assert not {'httpx', 'sync.providers', 'jmespath'} & set(sys.modules)\n"
        "from sync.providers import ProviderConfig, load\n"
        "load('dummyjson', ProviderConfig(url='https://source.test/'))\n"
        "assert not {'jmespath', 'sync.providers.rest', 'sync.testing'} & set(sys.modules)\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0


def test_load_finds_what_is_installed() -> None:
    assert "dummyjson" in known()
    provider = load("dummyjson", ProviderConfig(url="https://source.test/products"))
    assert isinstance(provider, DummyJSON)


def test_load_names_what_there_is() -> None:
    with pytest.raises(ProviderMisconfigured, match=r"no provider 'dummy'.*dummyjson"):
        load("dummy", ProviderConfig(url="https://source.test/products"))


class Incomplete:
    """A provider that forgot its pages."""

    name = "incomplete"

    def __init__(self, config: ProviderConfig) -> None: ...


def install(site: Path, package: str, *points: str) -> None:
    """As pip would: a package whose metadata registers providers."""
    metadata = site / f"{package}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", "utf-8")
    (metadata / "entry_points.txt").write_text("\n".join(["[products.providers]", *points, ""]), "utf-8")


def test_a_provider_of_another_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "shop", f"token-shop = {TokenShop.__module__}:TokenShop")
    monkeypatch.syspath_prepend(tmp_path)
    assert known() == ("dummyjson", "fakestore", "file", "rest", "token-shop")
    assert isinstance(load("token-shop", ProviderConfig(url="https://source.test/products")), TokenShop)


def test_a_name_that_two_packages_use_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which one ran would depend on the order of sys.path."""
    install(tmp_path, "shop", f"dummyjson = {TokenShop.__module__}:TokenShop")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ProviderMisconfigured, match=r"'dummyjson' is registered twice: sync\.providers\.dummyjson:"):
        load("dummyjson", ProviderConfig(url="https://source.test/products"))


def test_a_provider_that_lacks_a_part_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "shop", f"incomplete = {Incomplete.__module__}:Incomplete")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ProviderMisconfigured, match="'incomplete' lacks a part of ExternalAPIProvider"):
        load("incomplete", ProviderConfig(url="https://source.test/products"))
