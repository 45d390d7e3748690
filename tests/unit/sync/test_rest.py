"""`rest` against servers on this machine that have nothing in common, and against hostile ones."""

import asyncio
import datetime
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from sync.providers import (
    ExternalProduct,
    Page,
    ProviderAnswerInvalid,
    ProviderConfig,
    ProviderError,
    ProviderPagingError,
    ProviderRefused,
    is_partial,
)
from sync.providers.rest import Rest
from tests.unit.sync.loopback import Asked, answer, serving
from tests.unit.sync.shops import COUNT, SHOPS, Shop, options_at

PLAIN = {"external_id": "id", "name": "title", "price": "price", "category": {"const": "all"}}
CREDENTIALS = {
    "SOURCE_TOKEN": "hush-token",
    "SOURCE_KEY": "hush-key",
    "SOURCE_USER": "hush-user",
    "SOURCE_QUERY": "hush-query",
    "SOURCE_CLIENT_SECRET": "hush:secret",
}


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "shop-password").write_text("hush-password\n", "utf-8")
    return str(tmp_path)


async def collect(provider: Rest, cursor: str | None = None) -> list[Page]:
    try:
        return [page async for page in provider.pages(cursor)]
    finally:
        await provider.aclose()


async def _no_pause(seconds: float) -> None:
    await asyncio.sleep(0)


def make(url: str, options: dict[str, Any], **more: Any) -> Rest:
    settings: dict[str, Any] = {"page_size": 10, "sleep": _no_pause} | more
    return Rest(ProviderConfig(url=url, options=options, **settings))


def record(number: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "title": f"Lamp {number}", "price": 9.5} | more


@pytest.mark.parametrize("kind", SHOPS)
class TestShops:
    async def test_a_pass(self, kind: str, secrets: str) -> None:
        shop = SHOPS[kind]
        async with serving(shop.handler) as server:
            pages = await collect(self._make(shop, server.url, secrets))
            assert len(server.requests) == shop.requests
        assert [len(page.items) for page in pages] == [10, 10, 5]
        assert [page.rejects for page in pages] == [()] * 3
        assert [page.dropped_fields for page in pages] == [0] * 3
        assert len({item.external_id for page in pages for item in page.items}) == COUNT
        assert pages[-1].next_cursor is None
        assert "hush" not in repr([page.next_cursor for page in pages])

    async def test_each_page_resumes(self, kind: str, secrets: str) -> None:
        shop = SHOPS[kind]
        async with serving(shop.handler) as server:
            pages = await collect(self._make(shop, server.url, secrets))
            for number, page in enumerate(pages[:-1], start=1):
                rest = await collect(self._make(shop, server.url, secrets), page.next_cursor)
                assert [it.items for it in rest] == [it.items for it in pages[number:]]

    async def test_it_validates(self, kind: str, secrets: str) -> None:
        shop = SHOPS[kind]
        async with serving(shop.handler) as server:
            provider = self._make(shop, server.url, secrets)
            await provider.validate()
            await provider.aclose()

    def _make(self, shop: Shop, url: str, secrets: str) -> Rest:
        return make(url + shop.path, options_at(shop, url), secrets_folder=secrets)


async def first_of(kind: str, secrets: str) -> ExternalProduct:
    shop = SHOPS[kind]
    async with serving(shop.handler) as server:
        pages = await collect(make(server.url + shop.path, options_at(shop, server.url), secrets_folder=secrets))
    return pages[0].items[1]


class TestProducts:
    async def test_of_a_storefront(self, secrets: str) -> None:
        assert await first_of("cursor", secrets) == ExternalProduct(
            external_id="gid://shop/Product/1",
            name="Rug 1",
            price=Decimal("80.00"),
            currency="EUR",
            category="rugs",
            brand="Looms",
            image_url="https://cdn.test/1.webp",
            attributes={"tags": ["wool", "red"], "label": "Looms / Rug 1"},
        )

    async def test_in_cents(self, secrets: str) -> None:
        assert await first_of("offset", secrets) == ExternalProduct(
            external_id="A-1", name="Lamp 1", price=Decimal("19.99"), category="lights", stock=1
        )

    async def test_an_image_on_the_same_server(self, secrets: str) -> None:
        item = await first_of("page", secrets)
        assert item.image_url is not None
        assert item.image_url.endswith("/img/1.webp")


class TestCredentials:
    async def test_wrong_ones_are_named_and_not_shown(
        self, secrets: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("SOURCE_CLIENT_SECRET", "hush-wrong")
        monkeypatch.setenv("SOURCE_TOKEN", "hush-wrong")
        for kind in ("offset", "next_url"):
            shop = SHOPS[kind]
            async with serving(shop.handler) as server:
                provider = make(server.url + shop.path, options_at(shop, server.url), secrets_folder=secrets)
                with pytest.raises(ProviderRefused, match="401: check the credentials") as caught:
                    await collect(provider)
                assert len(server.requests) == 1
            assert "hush" not in f"{caught.value!r} {caught.value} {vars(provider)} {caplog.text}"

    async def test_a_token_is_renewed_once(self, secrets: str) -> None:
        def handler(asked: Asked) -> httpx.Response:
            if asked.url.path == "/token":
                return answer({"access_token": "hush-token"})
            return answer({}, status=401)

        shop = SHOPS["next_url"]
        async with serving(handler) as server:
            with pytest.raises(ProviderRefused, match="401"):
                await collect(make(server("/v1"), options_at(shop, server.url)))
            assert [asked.url.path for asked in server.requests] == ["/token", "/v1", "/token", "/v1"]

    @pytest.mark.parametrize("token", [{}, [], {"access_token": 7}, {"access_token": "a\r\nb"}, {"access_token": ""}])
    async def test_a_token_that_is_none(self, secrets: str, token: Any) -> None:
        shop = SHOPS["next_url"]
        async with serving(lambda _: answer(token)) as server:
            with pytest.raises(ProviderAnswerInvalid, match="no access_token"):
                await collect(make(server("/v1"), options_at(shop, server.url)))

    async def test_a_token_expires(self, secrets: str) -> None:
        now = [1_000.0]

        def handler(asked: Asked) -> httpx.Response:
            if asked.url.path == "/token":
                return answer({"access_token": "hush-token", "expires_in": 100})
            now[0] += 40
            page = int(asked.params.get("p", "1"))
            return answer({"items": [record(page)], "next": f"?p={page + 1}" if page < 4 else None})

        shop = SHOPS["next_url"]
        async with serving(handler) as server:
            await collect(make(server("/v1"), options_at(shop, server.url), clock=lambda: now[0]))
            paths = [asked.url.path for asked in server.requests]
        assert paths == ["/token", "/v1", "/v1", "/token", "/v1", "/v1"]


async def refused(
    handler: Callable[[Asked], httpx.Response], kind: type[ProviderError], match: str, **options: Any
) -> int:
    """The number of requests until a pass failed as it should."""
    async with serving(handler) as server:
        limits = {name: options.pop(name) for name in ("max_pages", "max_records", "max_bytes") if name in options}
        with pytest.raises(kind, match=match):
            await collect(make(server("/"), {"mapping": PLAIN} | options, **limits))
        return len(server.requests)


CURSOR = {"items": "items", "paging": {"kind": "cursor", "next": "next"}}
NEXT = {"items": "items", "paging": {"kind": "next_url", "next": "next"}}


class TestHostile:
    async def test_cursors_in_a_circle(self) -> None:
        """Its pages are always new ones."""
        count = iter(range(1_000))

        def handler(asked: Asked) -> httpx.Response:
            following = {"": "a", "a": "b", "b": "c", "c": "a"}[asked.params.get("cursor", "")]
            return answer({"items": [record(next(count))], "next": following})

        assert await refused(handler, ProviderPagingError, "leads back to one before", **CURSOR) == 4

    async def test_new_cursors_to_the_same_page(self) -> None:
        count = iter(range(1_000))

        def handler(_: Asked) -> httpx.Response:
            return answer({"items": [record(1)], "next": str(next(count))})

        assert await refused(handler, ProviderPagingError, "came before", **CURSOR) == 2

    async def test_empty_pages_without_end(self) -> None:
        count = iter(range(1_000))

        def handler(_: Asked) -> httpx.Response:
            return answer({"items": [], "next": str(next(count))})

        assert await refused(handler, ProviderPagingError, "No end after 7 pages", max_pages=7, **CURSOR) == 8

    @pytest.mark.parametrize(
        ("limit", "match"),
        [("max_pages", "No end after 5 pages"), ("max_records", "5 records"), ("max_bytes", "5 bytes")],
    )
    async def test_pages_without_end(self, limit: str, match: str) -> None:
        count = iter(range(1_000))

        def handler(_: Asked) -> httpx.Response:
            number = next(count)
            return answer({"items": [record(number)], "next": f"/?c={number}"})

        assert await refused(handler, ProviderPagingError, match, **{limit: 5}, **NEXT) <= 6

    @pytest.mark.parametrize(
        "following",
        [
            "http://169.254.169.254/latest",
            "//evil.test/",
            "https://127.0.0.1/",
            "http://[",
            "http://user@127.0.0.2/",
            "file:///etc",
        ],
    )
    async def test_the_next_page_on_another_server(self, following: str) -> None:
        def handler(_: Asked) -> httpx.Response:
            return answer({"items": [record(1)], "next": following}, link=f"<{following}>; rel=next")

        assert await refused(handler, ProviderRefused, "another host|no address", **NEXT) == 1
        link = {"items": "items", "paging": {"kind": "link"}}
        assert await refused(handler, ProviderRefused, "another host|no address", **link) == 1

    async def test_another_port_is_another_server(self) -> None:
        async with serving(lambda _: answer({"items": []})) as other:
            handler = lambda _: answer({"items": [record(1)], "next": other("/")})  # noqa: E731
            assert await refused(handler, ProviderRefused, "another host, scheme or port", **NEXT) == 1
            assert other.requests == []

    async def test_a_cursor_cannot_name_another_server(self) -> None:
        async with serving(lambda _: answer({"items": []})) as other:
            provider = make("http://source.test/", {"mapping": PLAIN, **NEXT})
            with pytest.raises(ProviderRefused, match="another host"):
                await collect(provider, json.dumps(["next_url", other("/")]))
            assert other.requests == []

    async def test_an_address_that_grows_is_bounded_as_a_cursor(self) -> None:
        def handler(_: Asked) -> httpx.Response:
            return answer({"items": [record(1)], "next": "/" + "ü" * 1_000})

        await refused(handler, ProviderAnswerInvalid, "more than 4000 characters", **NEXT)

    @pytest.mark.parametrize("following", [True, 1.5, [], {}, "x" * 4_001], ids=repr)
    async def test_what_leads_nowhere(self, following: Any) -> None:
        def handler(_: Asked) -> httpx.Response:
            return answer({"items": [record(1)], "next": following})

        await refused(handler, ProviderAnswerInvalid, "no text of at most 4000", **CURSOR)

    @pytest.mark.parametrize("items", [None, {}, "x", 7, True])
    async def test_what_is_no_list(self, items: Any) -> None:
        await refused(
            lambda _: answer({"items": items}), ProviderAnswerInvalid, "options.items finds no list", **CURSOR
        )

    @pytest.mark.parametrize("total", [None, "many", -1, 1.5, True, [], 10**18])
    async def test_what_is_no_total(self, total: Any) -> None:
        paging = {"paging": {"kind": "offset", "total": "total"}, "items": "items"}
        handler = lambda _: answer({"items": [record(1)], "total": total})  # noqa: E731
        await refused(handler, ProviderAnswerInvalid, r"options\.paging\.total finds no whole number", **paging)

    async def test_a_redirect_is_not_followed(self) -> None:
        async with serving(lambda _: answer([])) as other:
            handler = lambda _: answer([], status=302, location=other("/"))  # noqa: E731
            assert await refused(handler, ProviderRefused, "redirects are not followed") == 1
            assert other.requests == []

    async def test_offsets_that_are_ignored(self) -> None:
        paging = {"paging": {"kind": "offset"}}
        handler = lambda _: answer([record(number) for number in range(10)])  # noqa: E731
        assert await refused(handler, ProviderPagingError, "paging is ignored", **paging) == 2

    async def test_page_numbers_that_are_ignored(self) -> None:
        paging = {"paging": {"kind": "page", "total_pages": "pages"}, "items": "items"}
        handler = lambda _: answer({"items": [record(1)], "pages": 9})  # noqa: E731
        assert await refused(handler, ProviderPagingError, "paging is ignored", **paging) == 2

    async def test_pages_that_stop_early(self) -> None:
        paging = {"paging": {"kind": "page", "total_pages": "pages"}, "items": "items"}

        def handler(asked: Asked) -> httpx.Response:
            return answer({"items": [record(1)] if asked.params["page"] == "1" else [], "pages": 3})

        await refused(handler, ProviderPagingError, "states 3 pages, and page 2 is empty", **paging)

    async def test_records_of_every_wrong_type(self) -> None:
        records: list[Any] = [
            None,
            7,
            "x",
            [],
            {},
            record(1, title="x" * 9_000_000),
            record(2, price=[]),
            record(3),
            {"id": {}},
        ]
        async with serving(lambda _: answer(records)) as server:
            [page] = await collect(make(server("/"), {"mapping": PLAIN}))
        assert [item.external_id for item in page.items] == ["3"]
        assert len(page.rejects) == 8
        assert page.rejects[5].external_id == "1"
        assert all(len(each.payload) <= 2_048 for each in page.rejects)

    async def test_more_than_was_asked_for_is_cut_and_resumed(self) -> None:
        async with serving(lambda _: answer([record(number) for number in range(25)])) as server:
            pages = await collect(make(server("/"), {"mapping": PLAIN}))
            assert len(server.requests) == 1
            rest = await collect(make(server("/"), {"mapping": PLAIN}), pages[1].next_cursor)
        assert [len(page.items) for page in pages] == [10, 10, 5]
        assert [page.items for page in rest] == [pages[2].items]


class TestPaging:
    async def test_without_a_total_a_short_page_is_not_the_end(self) -> None:
        """A server that caps its pages at three must not look like one that has three products."""

        def handler(asked: Asked) -> httpx.Response:
            start = int(asked.params["offset"])
            return answer([record(number) for number in range(start, min(start + 3, 10))])

        async with serving(handler) as server:
            pages = await collect(make(server("/"), {"mapping": PLAIN, "paging": {"kind": "offset"}}))
        assert sum(len(page.items) for page in pages) == 10

    async def test_the_rate_is_kept(self) -> None:
        now, pauses = [1_000.0], []

        async def sleep(seconds: float) -> None:
            pauses.append(round(seconds, 3))
            now[0] += seconds

        def handler(asked: Asked) -> httpx.Response:
            page = int(asked.params["page"])
            return answer([record(page)] if page < 4 else [])

        async with serving(handler) as server:
            options = {"mapping": PLAIN, "paging": {"kind": "page"}}
            provider = make(server("/"), options, max_requests_per_second=4, sleep=sleep, clock=lambda: now[0])
            await collect(provider)
        assert pauses == [0.25, 0.25, 0.25]


class TestIncremental:
    SINCE = datetime.datetime(2030, 1, 1, 13, 0, 0, 999, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))

    @pytest.mark.parametrize(
        ("options", "value"),
        [
            ({"param": "updated_since"}, "2030-01-01T11:55:00Z"),
            ({"param": "updated_since", "lag_seconds": 0}, "2030-01-01T12:00:00Z"),
            ({"param": "updated_since", "lag_seconds": 60, "format": "unix"}, "1893499140"),
        ],
    )
    async def test_it_asks_for_changes_alone(self, options: dict[str, Any], value: str) -> None:
        """On every page, and not for details."""

        def handler(asked: Asked) -> httpx.Response:
            if asked.url.path != "/":
                return answer({"item": {}})
            return answer({"items": [record(1)], "next": "/?c=2"} if "c" not in asked.params else {"items": []})

        async with serving(handler) as server:
            more = {"items": "items", "incremental": options}
            provider = make(server("/"), DETAILS | NEXT | more, since=self.SINCE)
            assert is_partial(provider)
            await collect(provider)
            asked = {each.url.path: each.params.get("updated_since") for each in server.requests}
            assert asked == {"/": value, "/items/1": None}
            assert [each.params.get("updated_since") for each in server.requests] == [value, None, value]

    async def test_it_asks_for_everything_where_that_is_wanted(self) -> None:
        plain: dict[str, Any] = {"mapping": PLAIN}
        async with serving(lambda _: answer([record(1)])) as server:
            for options, since in ((plain | {"incremental": {"param": "since"}}, None), (plain, self.SINCE)):
                provider = make(server("/"), options, since=since)
                assert not is_partial(provider)
                await collect(provider)
            assert [asked.params for asked in server.requests] == [{}, {}]


DETAILS: dict[str, Any] = {
    "mapping": PLAIN | {"brand": "maker"},
    "detail": {"url": "/items/{id}?full=1", "item": "item", "concurrency": 3},
    "query": {"tenant": "a b"},
}


class TestDetails:
    async def test_they_are_laid_over_the_record(self) -> None:
        records: list[Any] = [record(number, price=None) for number in range(7)] + [
            record(7),
            None,
            {"id": ".."},
            record(9),
        ]
        records[7]["id"] = "a/b?c"

        def handler(asked: Asked) -> httpx.Response:
            assert asked.params["tenant"] == "a b"
            if asked.url.path == "/list":
                return answer(records)
            if asked.url.path == "/items/9":
                return answer({}, status=404)
            assert asked.params["full"] == "1"
            return answer({"item": {"price": 7, "maker": asked.url.raw_path.decode().partition("?")[0]}})

        async with serving(handler) as server:
            pages = await collect(make(server("/list"), DETAILS, page_size=20))
            assert len(server.requests) == 10
        [page] = pages
        assert [item.external_id for item in page.items] == ["0", "1", "2", "3", "4", "5", "6", "a/b?c", "9"]
        assert page.items[7].brand == "/items/a%2Fb%3Fc"
        assert page.items[0].price == Decimal("7.00")
        assert (page.items[8].brand, page.items[8].price) == (None, Decimal("9.50"))
        assert len(page.rejects) == 2

    async def test_its_errors_are_those_of_the_page(self) -> None:
        def handler(asked: Asked) -> httpx.Response:
            return answer([record(1), record(2)]) if asked.url.path == "/" else answer({}, status=403)

        await refused(handler, ProviderRefused, "403", **DETAILS)

    async def test_their_bytes_are_those_of_the_pass(self) -> None:
        def handler(asked: Asked) -> httpx.Response:
            return answer([record(1)]) if asked.url.path == "/" else answer({"item": {"text": "x" * 5_000}})

        await refused(handler, ProviderPagingError, "No end after 5000 bytes", max_bytes=5_000, **DETAILS)

    async def test_pages_are_bounded(self) -> None:
        handler = lambda _: answer([record(number) for number in range(501)])  # noqa: E731
        assert await refused(handler, ProviderPagingError, "More than 500 records", **DETAILS) == 1
