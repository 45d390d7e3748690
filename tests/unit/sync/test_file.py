"""`file`: CSV, lines of JSON and JSON lists, fetched or mounted, whole or from the middle."""

import asyncio
import csv
import gzip
import io
import json
import os
import time
import tracemalloc
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.providers import (
    ExternalProduct,
    Page,
    ProviderAnswerInvalid,
    ProviderConfig,
    ProviderMisconfigured,
    ProviderPagingError,
    ProviderRefused,
    ProviderUnavailable,
)
from sync.providers.file import File
from sync.providers.lines import Broken, CSVRecords
from tests.unit.sync.loopback import Asked, answer, serving
from tests.unit.sync.scripts import Chunks, Script, Time

MAPPING = {
    "external_id": "sku",
    "name": "name",
    "price": "price",
    "category": {"path": "category", "default": "other"},
    "stock": {"path": "stock", "cast": "integer"},
    "image_url": "image",
}
CSV = (
    "sku,name,price,category,stock,image\r\n"
    '1,"Lamp, ""bright""",9.99,lights,7,/a.webp\r\n'
    '2,"Two\r\nlines",5,,,\r\n'
    "\r\n"
    "3,Short,1\r\n"
    "4,Chair,12.50,chairs,many,https://cdn.test/4.webp\r\n"
    "5,Last,1,chairs,0,"
)


async def collect(provider: File, cursor: str | None = None) -> list[Page]:
    try:
        return [page async for page in provider.pages(cursor)]
    finally:
        await provider.aclose()


def mounted(folder: Path, name: str, content: bytes | str, **more: Any) -> File:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return opened(folder, f"file:{name}", **more)


def opened(folder: Path, url: str, **more: Any) -> File:
    limits = {key: more.pop(key) for key in [*more] if key in {"page_size", "max_records", "max_bytes", "max_pages"}}
    return File(ProviderConfig(url=url, options={"mapping": MAPPING} | more, files_folder=str(folder), **limits))


def lines(count: int) -> str:
    return "".join(json.dumps({"sku": n, "name": f"Lamp {n}", "price": 1}) + "\n" for n in range(count))


def ids(pages: list[Page]) -> list[str]:
    return [item.external_id for page in pages for item in page.items]


class TestCSV:
    async def test_quotes_and_blanks(self, tmp_path: Path) -> None:
        [page] = await collect(mounted(tmp_path, "a.csv", CSV, format="csv"))
        assert page.items[0] == ExternalProduct(
            external_id="1", name='Lamp, "bright"', price=Decimal("9.99"), category="lights", stock=7
        )
        assert (page.items[1].name, page.items[1].category) == ("Two\r\nlines", "other")
        assert page.items[2].image_url == "https://cdn.test/4.webp"
        assert ids([page]) == ["1", "2", "4", "5"]
        assert [each.reason for each in page.rejects] == ["record: must have 6 fields, as the header has"]
        # An image that is relative to nothing, and a stock that is no number.
        assert page.dropped_fields == 2

    @pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
    async def test_however_it_arrives(self, size: int) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(CSV), size):
                yield CSV[start : start + size].encode()

        script = Script(httpx.Response(200, stream=Chunks(chunks)))
        [page] = await collect(fetched(script, "https://source.test/feed/a.csv?key=hush-hush"))
        assert ids([page]) == ["1", "2", "4", "5"]
        assert page.items[0].image_url == "https://source.test/a.webp"

    @pytest.mark.parametrize(
        ("encoding", "content"),
        [
            ("utf-8", "\ufeffsku;name;price\n1;Stühle;2".encode()),
            ("utf-8-sig", "\ufeffsku;name;price\n1;Stühle;2".encode()),
            ("latin-1", "sku;name;price\n1;Stühle;2".encode("latin-1")),
        ],
    )
    async def test_encodings_and_delimiters(self, tmp_path: Path, encoding: str, content: bytes) -> None:
        provider = mounted(tmp_path, "a.csv", content, format="csv", encoding=encoding, delimiter=";")
        [page] = await collect(provider)
        assert [item.name for item in page.items] == ["Stühle"]

    async def test_bytes_of_another_encoding_are_rejected(self, tmp_path: Path) -> None:
        [page] = await collect(mounted(tmp_path, "a.csv", b"sku,name,price\n1,\xfc,2\n2,b,2\n", format="csv"))
        assert ids([page]) == ["2"]
        assert page.rejects[0].reason == "record: is not utf-8"

    @pytest.mark.parametrize(
        ("content", "match"),
        [
            ("", "no header"),
            ("\n\n", "no header"),
            ("a,a\n1,2\n", "each of them once"),
            ("a,,b\n", "each of them once"),
            ('sku,name,price\n1,"Lamp,2\n3,4,5\n', "middle of a quoted field"),
            ('sku,name,price\n1,"' + "x\n" * 600_000, "more than 1000000 characters: check the quotes"),
        ],
    )
    async def test_what_is_no_file_of_products(self, tmp_path: Path, content: str, match: str) -> None:
        with pytest.raises(ProviderAnswerInvalid, match=match):
            await collect(mounted(tmp_path, "a.csv", content, format="csv"))

    async def test_lines_that_cannot_be_read_are_rejects(self, tmp_path: Path) -> None:
        content = f"sku,name,price\n1,a,1\n2,{'x' * 2_000_000},1\n3,a\rb,1\n4,d,1\n"
        [page] = await collect(mounted(tmp_path, "a.csv", content, format="csv"))
        assert ids([page]) == ["1", "4"]
        assert [each.reason for each in page.rejects] == [
            "record: must have at most 1000000 bytes",
            "record: is not CSV",
        ]

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.lists(st.text('ab",\n\r ;', max_size=6), min_size=3, max_size=3), max_size=6), st.integers(1, 9))
    def test_what_others_write_is_read(self, rows: list[list[str]], size: int) -> None:
        rows = [row for row in rows if any(field.strip() for field in row)]
        file = io.StringIO()
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["x", "y", "z"], *rows])
        content, reader = file.getvalue().encode(), CSVRecords(",", "utf-8")
        found = [it for start in range(0, len(content), size) for it in reader.feed(content[start : start + size])]
        found += reader.finish()
        assert found == [{name: value or None for name, value in zip("xyz", row, strict=True)} for row in rows]

    def test_time_is_that_of_the_length(self) -> None:
        """Quotes that open and close on each of very many lines of one record."""
        reader = CSVRecords(",", "utf-8")
        began = time.process_time()
        with pytest.raises(ProviderAnswerInvalid):
            for _ in reader.feed(b'a,b\n1,"' + b'""\n' * 700_000):
                pass
        assert time.process_time() - began < 10


class TestJSONLines:
    async def test_a_broken_line_is_a_reject(self, tmp_path: Path) -> None:
        content = lines(2) + "\n{broken\n" + '[1]\nnull\n{"sku": "z", "name": "Z", "price": 0.1}'
        [page] = await collect(mounted(tmp_path, "a.ndjson", content, format="ndjson"))
        assert ids([page]) == ["0", "1", "z"]
        assert [each.reason for each in page.rejects] == ["record: is not JSON", *["record: must be an object"] * 2]
        assert page.rejects[0].payload == '"{broken"'

    async def test_a_line_too_long_is_a_reject(self, tmp_path: Path) -> None:
        long = json.dumps({"sku": 7, "name": "x" * 3_000_000, "price": 1}) + "\n"
        [page] = await collect(mounted(tmp_path, "a.ndjson", lines(1) + long + lines(1), format="ndjson"))
        assert ids([page]) == ["0", "0"]
        assert page.rejects[0].reason == "record: must have at most 1000000 bytes"
        assert len(page.rejects[0].payload) < 200

    async def test_half_a_record_at_the_end_is_no_end(self, tmp_path: Path) -> None:
        with pytest.raises(ProviderAnswerInvalid, match="cut off"):
            await collect(mounted(tmp_path, "a.ndjson", lines(3)[:-9], format="ndjson"))

    async def test_memory_is_that_of_a_page(self, tmp_path: Path) -> None:
        with gzip.open(tmp_path / "a.ndjson.gz", "wb", compresslevel=1) as file:
            for number in range(60):
                row = {"sku": number, "name": "Lamp", "price": 1, "pad": "x" * 900_000}
                file.write(json.dumps(row).encode() + b"\n")
        provider = opened(tmp_path, "file:a.ndjson.gz", format="ndjson", page_size=10)
        tracemalloc.start()
        try:
            assert len(ids(await collect(provider))) == 60
            assert tracemalloc.get_traced_memory()[1] < 15_000_000
        finally:
            tracemalloc.stop()


class TestJSON:
    async def test_a_list_within(self, tmp_path: Path) -> None:
        content = json.dumps({"feed": {"rows": [{"sku": 1, "name": "a", "price": "2.5"}]}})
        [page] = await collect(mounted(tmp_path, "a.json", content, format="json", items="feed.rows"))
        assert page.items[0].price == Decimal("2.50")

    async def test_its_size_is_bounded(self, tmp_path: Path) -> None:
        provider = mounted(tmp_path, "a.json", b"[" + b" " * 10_000_001 + b"]", format="json")
        with pytest.raises(ProviderAnswerInvalid, match="more than 10000000 bytes of JSON: make it `ndjson`"):
            await collect(provider)

    @pytest.mark.parametrize("content", ["{}", "7", "null", "", "[", "<html>"])
    async def test_what_is_no_list(self, tmp_path: Path, content: str) -> None:
        with pytest.raises(ProviderAnswerInvalid):
            await collect(mounted(tmp_path, "a.json", content, format="json"))


class TestResume:
    async def test_in_the_middle(self, tmp_path: Path) -> None:
        for name, content in (("a.ndjson", lines(25)), ("b.ndjson", gzip.compress(lines(25).encode()))):
            pages = await collect(mounted(tmp_path, name, content, format="ndjson", page_size=10))
            assert [len(page.items) for page in pages] == [10, 10, 5]
            for number, page in enumerate(pages[:-1], start=1):
                provider = opened(tmp_path, f"file:{name}", format="ndjson", page_size=10)
                assert await collect(provider, page.next_cursor) == pages[number:]

    async def test_the_last_page_is_known_to_be_the_last(self, tmp_path: Path) -> None:
        pages = await collect(mounted(tmp_path, "a.ndjson", lines(20), format="ndjson", page_size=10))
        assert [len(page.items) for page in pages] == [10, 10]

    @pytest.mark.parametrize("content", [lines(30), lines(5)])
    async def test_a_file_that_has_changed(self, tmp_path: Path, content: str) -> None:
        first = (await collect(mounted(tmp_path, "a.ndjson", lines(25), format="ndjson", page_size=10)))[0]
        with pytest.raises(ProviderPagingError, match="has changed since"):
            await collect(mounted(tmp_path, "a.ndjson", content, format="ndjson", page_size=10), first.next_cursor)

    @pytest.mark.parametrize("cursor", ["", "7", "x:y", "-1:0123456789abcdef", "1:0123456789abcdeg", '["offset"]'])
    async def test_a_cursor_of_somebody_else(self, tmp_path: Path, cursor: str) -> None:
        with pytest.raises(ProviderMisconfigured, match="start the pass anew"):
            await collect(mounted(tmp_path, "a.ndjson", lines(1), format="ndjson"), cursor)

    async def test_a_connection_that_breaks_is_continued(self) -> None:
        content = lines(2_500).encode()

        async def half() -> AsyncIterator[bytes]:
            yield content[: len(content) // 2]
            raise httpx.ReadError("reset")

        async def whole() -> AsyncIterator[bytes]:
            yield content

        clock = Time()
        script = Script(
            httpx.Response(200, stream=Chunks(half), headers={"etag": "1"}),
            httpx.Response(503),
            httpx.Response(200, stream=Chunks(whole), headers={"etag": "1"}),
        )
        pages = await collect(fetched(script, time=clock, format="ndjson"))
        assert ids(pages) == [str(number) for number in range(2_500)]
        assert clock.sleeps == [1.0, 2.0]

    async def test_one_that_stays_broken_is_given_up(self) -> None:
        script = Script(httpx.Response(503))
        with pytest.raises(ProviderUnavailable):
            await collect(fetched(script))
        assert len(script.calls) == 3

    async def test_silence_in_the_middle_has_an_end(self) -> None:
        async def silent() -> AsyncIterator[bytes]:
            yield lines(3).encode()
            await asyncio.Event().wait()

        streams = [Chunks(silent) for _ in range(3)]
        script = Script(*(httpx.Response(200, stream=stream) for stream in streams))
        async with asyncio.timeout(10):
            with pytest.raises(ProviderUnavailable, match=r"within 0\.05 s"):
                await collect(fetched(script, timeout=0.05, format="ndjson"))
        assert all(stream.closed for stream in streams)


class TestLimits:
    async def test_records_pages_and_bytes(self, tmp_path: Path) -> None:
        for limit, match in (("max_records", "9 records"), ("max_bytes", "9 bytes"), ("max_pages", "9 pages")):
            provider = mounted(tmp_path, "a.ndjson", lines(10), format="ndjson", page_size=1, **{limit: 9})
            with pytest.raises(ProviderPagingError, match=f"No end after {match}"):
                await collect(provider)

    async def test_a_bomb_is_counted_as_it_is_unpacked(self, tmp_path: Path) -> None:
        bomb = gzip.compress(b" " * 200_000_000, 9, mtime=0)
        provider = mounted(tmp_path, "a.gz", bomb, format="ndjson", max_bytes=100_000_000)
        with pytest.raises(ProviderPagingError, match="100000000 bytes"):
            await collect(provider)

    async def test_gzip_that_is_cut_off(self, tmp_path: Path) -> None:
        packed = gzip.compress(lines(100).encode(), mtime=0)
        with pytest.raises(ProviderAnswerInvalid, match="cut off"):
            await collect(mounted(tmp_path, "a.gz", packed[:-9], format="ndjson"))


class TestAddresses:
    async def test_over_a_socket_with_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SOURCE_FEED", "hush-feed")

        def handler(asked: Asked) -> httpx.Response:
            if asked.headers.get("authorization") != "Bearer hush-feed":
                return answer({}, status=401)
            return httpx.Response(200, content=gzip.compress(CSV.encode(), mtime=0))

        options = {"mapping": MAPPING, "format": "csv"}
        auth = {"auth": {"kind": "bearer", "token": {"env": "SOURCE_FEED"}}}
        async with serving(handler) as server:
            config = ProviderConfig(url=server("/feed.csv.gz"), options=options | auth, page_size=2)
            pages = await collect(File(config))
            assert ids(pages) == ["1", "2", "4", "5"]
            with pytest.raises(ProviderRefused, match="401"):
                await collect(File(ProviderConfig(url=server("/feed.csv.gz"), options=options)))

    async def test_a_token_is_renewed_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SOURCE_A", "hush")
        given = iter(["old", "new"])

        def handler(asked: Asked) -> httpx.Response:
            if asked.url.path == "/token":
                return answer({"access_token": next(given)})
            known = asked.headers.get("authorization") == "Bearer new"
            return httpx.Response(200, content=CSV.encode()) if known else answer({}, status=401)

        async with serving(handler) as server:
            auth = {
                "kind": "oauth2",
                "token_url": server("/token"),
                "client_id": "a",
                "client_secret": {"env": "SOURCE_A"},
            }
            options = {"mapping": MAPPING, "format": "csv", "auth": auth}
            assert ids(await collect(File(ProviderConfig(url=server("/feed"), options=options)))) == [
                "1",
                "2",
                "4",
                "5",
            ]
            assert [asked.url.path for asked in server.requests] == ["/token", "/feed", "/token", "/feed"]

    @pytest.mark.parametrize(
        "name",
        [
            "../secret",
            "/etc/passwd",
            "..",
            ".",
            "",
            "a/b",
            "%2e%2e/secret",
            "a\0b",
            "out",
            "folder",
            "folder/inner",
            "pipe",
            "no",
        ],
    )
    def test_nothing_but_the_files_of_the_folder(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "secret").write_text(lines(1), "utf-8")
        folder = tmp_path / "files"
        (folder / "folder").mkdir(parents=True)
        (folder / "folder" / "inner").write_text("{}", "utf-8")
        (folder / "out").symlink_to(tmp_path / "secret")
        os.mkfifo(folder / "pipe")
        with pytest.raises(ProviderMisconfigured, match="The file"):
            opened(folder, f"file:{name}", format="ndjson")

    async def test_a_link_within_the_folder_is_followed(self, tmp_path: Path) -> None:
        """Kubernetes mounts files as links into a folder that it swaps."""
        (tmp_path / "..data").mkdir()
        (tmp_path / "..data" / "a.ndjson").write_text(lines(1), "utf-8")
        (tmp_path / "a.ndjson").symlink_to("..data/a.ndjson")
        assert ids(await collect(opened(tmp_path, "file:a.ndjson", format="ndjson"))) == ["0"]

    def test_without_a_folder_there_are_no_files(self) -> None:
        with pytest.raises(ProviderMisconfigured, match="no folder of files"):
            File(ProviderConfig(url="file:a.csv", options={"mapping": MAPPING, "format": "csv"}))

    @pytest.mark.parametrize("scheme", ["ftp://a.test/b", "files:a.csv", "a.csv", "data:,x"])
    def test_other_addresses(self, scheme: str) -> None:
        with pytest.raises(ProviderMisconfigured, match="must begin with http"):
            File(ProviderConfig(url=scheme, options={"mapping": MAPPING, "format": "csv"}))


class TestValidate:
    async def test_a_good_one(self, tmp_path: Path) -> None:
        await mounted(tmp_path, "a.csv", CSV, format="csv").validate()

    async def test_one_of_other_columns(self, tmp_path: Path) -> None:
        with pytest.raises(ProviderAnswerInvalid, match="None of the first 2 records is a product"):
            await mounted(tmp_path, "a.csv", "a,b\n1,2\n3,4\n", format="csv").validate()


def test_a_broken_record_says_how_it_begins() -> None:
    assert [*CSVRecords(",", "utf-8").feed(b"a,b\n1,2,3\n")] == [
        Broken("record: must have 2 fields, as the header has", "1,2,3\n")
    ]


def fetched(script: Script, url: str = "https://source.test/feed", **more: Any) -> File:
    clock = more.pop("time", None) or Time()
    timeout = more.pop("timeout", 30.0)
    return File(
        ProviderConfig(
            url=url,
            options={"mapping": MAPPING, "format": "csv"} | more,
            transport=httpx.MockTransport(script),
            sleep=clock.sleep,
            clock=clock,
            rng=lambda: 1.0,
            timeout=timeout,
        )
    )
