"""An unchanged source costs one request and no pass, where one answer is all of it."""

import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from sync.providers import (
    ExternalAPIProvider,
    Page,
    ProviderConfig,
    ProviderRefused,
    SourceUnchanged,
    load,
    validators_of,
)
from tests.unit.sync.loopback import Asked, answer, serving

MAPPING = {"external_id": "id", "name": "title", "price": "price", "category": {"const": "all"}}
RECORDS = [{"id": number, "title": "Lamp", "price": 1, "category": "a"} for number in range(3)]


class Shop:
    """Answers with its version as an ETag or a time, and 304 to who knows it."""

    def __init__(self, header: str, version: str) -> None:
        self.header = header
        self.version = version

    def __call__(self, asked: Asked) -> httpx.Response:
        condition = {"etag": "if-none-match", "last-modified": "if-modified-since"}[self.header]
        if asked.headers.get(condition) == self.version:
            return httpx.Response(304)
        response = answer(RECORDS)
        response.headers[self.header] = self.version
        return response


async def collect(provider: ExternalAPIProvider, cursor: str | None = None) -> list[Page]:
    try:
        return [page async for page in provider.pages(cursor)]
    finally:
        await provider.aclose()


OPTIONS: dict[str, dict[str, Any]] = {
    "rest": {"mapping": MAPPING},
    "file": {"mapping": MAPPING, "format": "json"},
    "fakestore": {},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("header", ["etag", "last-modified"])
async def test_what_has_not_changed_is_not_read(name: str, header: str) -> None:
    shop = Shop(header, "version 1")
    async with serving(shop) as server:
        config: dict[str, Any] = {"url": server("/"), "options": OPTIONS[name]}
        provider = load(name, ProviderConfig(**config))
        assert validators_of(provider) == {}
        await collect(provider)
        seen = validators_of(provider)
        assert seen
        with pytest.raises(SourceUnchanged):
            await collect(load(name, ProviderConfig(**config, validators=seen)))
        assert len(server.requests) == 2
        shop.version = "version 2"
        provider = load(name, ProviderConfig(**config, validators=seen))
        assert len((await collect(provider))[0].items) == 3
        assert validators_of(provider) != seen


async def test_of_other_options_it_has() -> None:
    """The same answer is other products."""
    async with serving(Shop("etag", "1")) as server:
        provider = load("rest", ProviderConfig(url=server("/"), options=OPTIONS["rest"]))
        await collect(provider)
        options = {"mapping": MAPPING | {"category": {"const": "other"}}}
        config = ProviderConfig(url=server("/"), options=options, validators=validators_of(provider))
        assert (await collect(load("rest", config)))[0].items[0].category == "other"


async def test_a_look_at_it_is_not_conditional() -> None:
    async with serving(Shop("etag", "1")) as server:
        for name, options in OPTIONS.items():
            provider = load(name, ProviderConfig(url=server("/"), options=options))
            await collect(provider)
            config = ProviderConfig(url=server("/"), options=options, validators=validators_of(provider))
            again = load(name, config)
            await again.validate()
            await again.aclose()


@pytest.mark.parametrize("name", ["rest", "file"])
async def test_nor_is_what_is_continued(name: str) -> None:
    async with serving(Shop("etag", "1")) as server:
        config: dict[str, Any] = {"url": server("/"), "options": OPTIONS[name], "page_size": 2}
        provider = load(name, ProviderConfig(**config))
        first = (await collect(provider))[0]
        again = load(name, ProviderConfig(**config, validators=validators_of(provider)))
        assert len((await collect(again, first.next_cursor))[0].items) == 1
        # What was read before the break may have been another version.
        assert validators_of(again) == {}


async def test_a_source_of_several_pages_is_always_read() -> None:
    """The first page says nothing of the others; nor does a list of its details."""
    details = {"detail": {"url": "/{id}", "item": "[0]"}}
    for more in ({"paging": {"kind": "page", "total_pages": "`1`"}}, {"paging": {"kind": "link"}}, details):
        async with serving(Shop("etag", "1")) as server:
            options = OPTIONS["rest"] | more
            provider = load("rest", ProviderConfig(url=server("/"), options=options))
            await collect(provider)
            assert validators_of(provider) == {}


async def test_without_validators_a_304_is_an_error() -> None:
    async with serving(lambda _: httpx.Response(304)) as server:
        for name, options in OPTIONS.items():
            with pytest.raises(ProviderRefused, match="304"):
                await collect(load(name, ProviderConfig(url=server("/"), options=options)))


@pytest.mark.parametrize("etag", ["", "x" * 501])
async def test_what_is_no_validator(etag: str) -> None:
    async with serving(lambda _: answer(RECORDS, etag=etag)) as server:
        provider = load("fakestore", ProviderConfig(url=server("/")))
        await collect(provider)
        assert validators_of(provider) == {}


async def test_a_mounted_file(tmp_path: Path) -> None:
    file = tmp_path / "a.ndjson"
    file.write_text('{"id": 1, "title": "a", "price": 1}\n', "utf-8")
    config: dict[str, Any] = {
        "url": "file:a.ndjson",
        "options": {"mapping": MAPPING, "format": "ndjson"},
        "files_folder": str(tmp_path),
    }
    provider = load("file", ProviderConfig(**config))
    await collect(provider)
    seen = validators_of(provider)
    with pytest.raises(SourceUnchanged):
        await collect(load("file", ProviderConfig(**config, validators=seen)))
    os.utime(file, (1, 1))
    assert len((await collect(load("file", ProviderConfig(**config, validators=seen))))[0].items) == 1
