"""The page fetcher against bodies that are too big, packed to burst, or never end."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest

from sync.providers import (
    ProviderAnswerInvalid,
    ProviderConfig,
    ProviderUnavailable,
)
from sync.providers.http import JsonClient
from tests.unit.sync.scripts import Chunks, Script, Time, client


class TestSize:
    async def test_an_endless_body_is_cut(self) -> None:
        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b" " * 4_096

        stream = Chunks(endless)
        with pytest.raises(ProviderAnswerInvalid, match="more than 100000 bytes"):
            await client(Script(httpx.Response(200, stream=stream)), max_page_bytes=100_000).get({})
        assert stream.taken < 110_000
        assert stream.closed

    async def test_a_gzip_bomb_is_cut_while_it_is_small(self) -> None:
        zeros = bytes(1_000_000)

        async def bomb() -> AsyncIterator[bytes]:
            packer = zlib.compressobj(9, wbits=31)
            for _ in range(10_000):  # 10 GB unpacked, and never in memory at once
                if chunk := packer.compress(zeros):
                    yield chunk

        stream = Chunks(bomb)
        answer = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=stream)
        with pytest.raises(ProviderAnswerInvalid, match="more than 10000000 bytes"):
            await client(Script(answer)).get({})
        assert stream.taken < 200_000

    async def test_one_chunk_of_a_bomb_is_not_unpacked_whole(self) -> None:
        packed = gzip.compress(bytes(200_000_000), 9, mtime=0)

        async def once() -> AsyncIterator[bytes]:
            yield packed

        answer = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Chunks(once))
        tracemalloc.start()
        try:
            with pytest.raises(ProviderAnswerInvalid):
                await client(Script(answer), max_page_bytes=1_000_000).get({})
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()

    async def test_empty_gzip_blocks_for_ever_are_cut(self) -> None:
        async def nothing() -> AsyncIterator[bytes]:
            packer = zlib.compressobj(wbits=31)
            while True:
                yield packer.flush(zlib.Z_FULL_FLUSH) or packer.compress(b" ")

        answer = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Chunks(nothing))
        with pytest.raises(ProviderAnswerInvalid, match="more than"):
            await client(Script(answer), max_page_bytes=10_000).get({})

    @pytest.mark.parametrize("size", [1, 7, 10_000], ids="in chunks of {}".format)
    async def test_gzip_members_follow_each_other(self, size: int) -> None:
        packed = gzip.compress(b'{"a"', mtime=0) + gzip.compress(b": 1}", mtime=0) + bytes(9)

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(packed), size):
                yield packed[start : start + size]

        answer = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Chunks(chunks))
        assert await client(Script(answer)).get({}) == {"a": 1}

    @pytest.mark.parametrize(
        ("packed", "fault"),
        [
            (gzip.compress(b"", mtime=0) * 1_001, "more than 1000 gzip members"),
            (gzip.compress(b" " * 600, mtime=0) * 2, "more than 1000 bytes"),
            (gzip.compress(b"1", mtime=0) + b"rest", "cannot be decompressed"),
            (gzip.compress(b"1", mtime=0) + gzip.compress(b"2", mtime=0)[:-3], "cut off"),
        ],
        ids=["many", "large", "no member", "cut off"],
    )
    async def test_bad_members_are_refused(self, packed: bytes, fault: str) -> None:
        answer = httpx.Response(200, headers={"content-encoding": "gzip"}, content=packed)
        limit = 1_000 if "bytes" in fault else 100_000
        with pytest.raises(ProviderAnswerInvalid, match=fault):
            await client(Script(answer), max_page_bytes=limit).get({})

    async def test_gzip_is_understood(self) -> None:
        answer = httpx.Response(200, headers={"content-encoding": "gzip"}, content=gzip.compress(b'{"a": 1}', mtime=0))
        assert await client(Script(answer)).get({}) == {"a": 1}

    @pytest.mark.parametrize(
        ("encoding", "content"),
        [("gzip", b"plain"), ("gzip", gzip.compress(b'{"a": 1}', mtime=0)[:-9]), ("br", b"x"), ("gzip, gzip", b"x")],
    )
    async def test_what_cannot_be_unpacked(self, encoding: str, content: bytes) -> None:
        async def once() -> AsyncIterator[bytes]:
            yield content

        answer = httpx.Response(200, headers={"content-encoding": encoding}, stream=Chunks(once))
        with pytest.raises(ProviderAnswerInvalid):
            await client(Script(answer)).get({})


class TestTime:
    async def test_a_body_by_drops_has_one_deadline(self) -> None:
        """Every byte arrives in time, but not the last."""
        stop = asyncio.Event()

        async def drops() -> AsyncIterator[bytes]:
            while not stop.is_set():
                yield b" "
                await asyncio.sleep(0)

        streams = [Chunks(drops) for _ in range(3)]
        script = Script(*(httpx.Response(200, stream=stream) for stream in streams))
        with pytest.raises(ProviderUnavailable, match=r"no complete answer within 0\.05 s"):
            await client(script, timeout=0.05).get({})
        assert len(script.calls) == 3
        assert all(stream.closed for stream in streams)

    async def test_a_real_socket_that_says_nothing(self) -> None:
        hangups: list[asyncio.StreamWriter] = []

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            hangups.append(writer)
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            time = Time()
            quiet = JsonClient(
                ProviderConfig(url=f"http://127.0.0.1:{port}/", timeout=0.1, sleep=time.sleep, clock=time)
            )
            with pytest.raises(ProviderUnavailable):
                await quiet.get({})
            await quiet.aclose()
            assert len(hangups) == 3
            for writer in hangups:
                await writer.wait_closed()

    async def test_nobody_listens(self) -> None:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        alone = JsonClient(ProviderConfig(url=f"http://127.0.0.1:{port}/", sleep=Time().sleep))
        with pytest.raises(ProviderUnavailable, match="check the address"):
            await alone.get({})
        await alone.aclose()
