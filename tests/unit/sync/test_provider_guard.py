"""Private addresses: not connected to unless that is allowed, whatever they are called."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpcore
import httpx
import pytest

from sync.providers import ProviderConfig, ProviderRefused, ProviderUnavailable
from sync.providers.guard import is_public
from sync.providers.http import JsonClient
from tests.unit.sync.loopback import Loopback, answer, serving
from tests.unit.sync.scripts import Time

PRIVATE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.0.0.1",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "ff0e::1", "2001:db8::1", "100::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "2002:7f00:1::", "2002:a00:1::",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "", "localhost", "source.test",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_ones(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_ones(address: str) -> None:
    assert is_public(address)


class Names:
    """A resolver whose answers change: the first for the first question, the last for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked: list[Any] = []
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self._resolve, raising=False)

    async def _resolve(self, host: Any, port: int, **_: Any) -> list[Any]:
        self.asked.append(host)
        found = self._answers[min(len(self.asked), len(self._answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]


async def ask(url: str, **more: Any) -> Any:
    client = JsonClient(ProviderConfig(url=url, allow_private=False, sleep=Time().sleep, **more))
    try:
        return await client.get({})
    finally:
        await client.aclose()


@pytest.fixture
async def sentinel() -> AsyncIterator[Loopback]:
    """A server on this machine that nobody may reach."""
    async with serving(lambda _: answer({})) as server:
        yield server
        assert server.requests == []


class TestRefused:
    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]", "0"]
    )
    async def test_however_it_is_written(self, sentinel: Loopback, host: str) -> None:
        port = httpx.URL(sentinel.url).port
        with pytest.raises(ProviderRefused, match="ALLOW_PRIVATE_SOURCES=true allows it"):
            await ask(f"http://{host}:{port}/")

    async def test_a_name_of_it(self, sentinel: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
        names = Names(monkeypatch, ["127.0.0.1"])
        with pytest.raises(ProviderRefused, match=r"shop\.test is not at a public address"):
            await ask(f"http://shop.test:{httpx.URL(sentinel.url).port}/")
        assert names.asked == ["shop.test"]

    async def test_a_name_of_it_and_of_a_public_one(self, sentinel: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
        Names(monkeypatch, ["1.1.1.1", "127.0.0.1"])
        with pytest.raises(ProviderRefused):
            await ask(f"http://shop.test:{httpx.URL(sentinel.url).port}/")

    async def test_no_proxy_leads_around_it(self, sentinel: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, sentinel.url)
        Names(monkeypatch, ["10.0.0.1"])
        with pytest.raises(ProviderRefused):
            await ask("http://shop.test/")

    async def test_it_is_not_tried_again(self, sentinel: Loopback) -> None:
        time = Time()
        client = JsonClient(ProviderConfig(url=sentinel.url, allow_private=False, sleep=time.sleep))
        with pytest.raises(ProviderRefused):
            await client.get({})
        await client.aclose()
        assert time.sleeps == []

    async def test_the_token_of_oauth2_is_not_fetched_there(
        self, sentinel: Loopback, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from sync.providers.rest import Rest

        monkeypatch.setenv("SOURCE_A", "hush")
        options = {
            "mapping": {"external_id": "id", "name": "n", "price": "p", "category": "c"},
            "auth": {
                "kind": "oauth2",
                "token_url": sentinel("/token"),
                "client_id": "a",
                "client_secret": {"env": "SOURCE_A"},
            },
        }
        provider = Rest(ProviderConfig(url="http://shop.test/", options=options, allow_private=False))
        with pytest.raises(ProviderRefused, match="ALLOW_PRIVATE_SOURCES"):
            await provider.validate()
        await provider.aclose()

    async def test_it_is_allowed_by_the_setting(self) -> None:
        async with serving(lambda _: answer({"a": 1})) as server:
            client = JsonClient(ProviderConfig(url=server.url))
            assert await client.get({}) == {"a": 1}
            await client.aclose()


class TestConnected:
    """The address that was checked is the one that is connected to, under the name that was asked for."""

    async def test_what_was_checked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A name that is public when it is checked and private a moment later (DNS rebinding)."""
        names, connected = Names(monkeypatch, ["93.184.216.34"], ["127.0.0.1"]), []

        async def connect(self: Any, host: str, port: int, *_: Any) -> httpcore.AsyncNetworkStream:
            connected.append((host, port))
            return httpcore.AsyncMockStream([b'HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{"a": 1}'])

        monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
        assert await ask("http://shop.test:8080/") == {"a": 1}
        assert (names.asked, connected) == (["shop.test"], [("93.184.216.34", 8080)])

    async def test_tls_is_for_the_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Names(monkeypatch, ["93.184.216.34"])
        seen: list[Any] = []

        class Stream(httpcore.AsyncMockStream):
            async def start_tls(
                self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
            ) -> httpcore.AsyncNetworkStream:
                seen.append((server_hostname, ssl_context.verify_mode, ssl_context.check_hostname))
                return self

            async def write(self, buffer: bytes, timeout: float | None = None) -> None:
                seen.append(b"shop.test" in buffer)

        async def connect(self: Any, host: str, port: int, *_: Any) -> httpcore.AsyncNetworkStream:
            seen.append(host)
            return Stream([b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"])

        monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
        assert await ask("https://shop.test/") == {}
        assert seen[:3] == ["93.184.216.34", ("shop.test", ssl.CERT_REQUIRED, True), True]

    async def test_the_next_address_where_one_is_down(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Names(monkeypatch, ["93.184.216.34", "1.1.1.1"])
        tried = []

        async def connect(self: Any, host: str, port: int, *_: Any) -> httpcore.AsyncNetworkStream:
            tried.append(host)
            if host != "1.1.1.1":
                raise httpcore.ConnectError("down")
            return httpcore.AsyncMockStream([b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"])

        monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
        assert await ask("http://shop.test/") == {}
        assert tried == ["93.184.216.34", "1.1.1.1"]

    async def test_a_resolver_that_does_not_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def never(*_: Any, **__: Any) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
        with pytest.raises(ProviderUnavailable, match=r"within 0\.05 s"):
            await ask("http://shop.test/", timeout=0.05)

    async def test_a_name_that_nobody_knows(self) -> None:
        with pytest.raises(ProviderUnavailable, match="ConnectError"):
            await ask("http://nobody.invalid/")
