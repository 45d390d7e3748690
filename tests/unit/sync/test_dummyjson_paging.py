"""DummyJSON: answers that are no page, and where a source that lies about its pages ends."""

import contextlib

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.providers import (
    ProviderAnswerInvalid,
    ProviderMisconfigured,
    ProviderPagingError,
)
from tests.unit.sync.sources import answer, asked, ids, provider, raw, read, records


class TestHostilePages:
    @pytest.mark.parametrize(
        "body",
        [
            "",
            "null",
            "7",
            '"x"',
            "[]",
            "{}",
            '{"products": []}',
            '{"products": null, "total": 0}',
            '{"products": {}, "total": 0}',
            '{"products": [], "total": null}',
            '{"products": [], "total": true}',
            '{"products": [], "total": -1}',
            '{"products": [], "total": 1.5}',
            '{"products": [], "total": NaN}',
            '{"products": [], "total": "0"}',
            '{"products": [',
            "<!doctype html><title>Down</title>",
            "[" * 100_000,
            '{"products": [' + "[]," * 400_000 + '[]], "total": 1}',
        ],
        ids=lambda body: repr(body[:40]),
    )
    async def test_a_page_that_is_none(self, body: str) -> None:
        with pytest.raises(ProviderAnswerInvalid) as caught:
            await read(lambda _: httpx.Response(200, text=body))
        assert not caught.value.retryable

    @pytest.mark.parametrize("content", [b"\xff\xfe", b"\x80", '{"a": "é"}'.encode("latin-1")])
    async def test_bytes_that_are_no_text(self, content: bytes) -> None:
        with pytest.raises(ProviderAnswerInvalid):
            await read(lambda _: httpx.Response(200, content=content))

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=60))
    async def test_any_bytes_end_in_our_error(self, content: bytes) -> None:
        with pytest.raises(ProviderAnswerInvalid):
            await read(lambda _: httpx.Response(200, content=content))

    async def test_validate_says_why_nothing_fits(self) -> None:
        with pytest.raises(ProviderAnswerInvalid, match=r"None of the first 2 records is a product .name: must be"):
            await provider(raw('{"id": 1}', '{"id": 2}')).validate()

    async def test_validate_accepts_an_empty_source(self) -> None:
        await provider(raw()).validate()


class TestLyingPaging:
    async def test_a_total_that_grows_is_followed(self) -> None:
        def serve(request: httpx.Request) -> httpx.Response:
            skip, limit = asked(request)
            return answer(records(skip, min(skip + limit, 35)), min(skip + 11, 35))

        assert ids(await read(serve, page_size=10)) == list(range(35))

    async def test_a_total_that_shrinks_ends_the_pass(self) -> None:
        def serve(request: httpx.Request) -> httpx.Response:
            skip, limit = asked(request)
            end = 100 if skip == 0 else 15
            return answer(records(skip, min(skip + limit, end)), end)

        assert ids(await read(serve, page_size=10)) == list(range(15))

    async def test_a_total_of_the_page_is_not_believed(self) -> None:
        def serve(request: httpx.Request) -> httpx.Response:
            skip, limit = asked(request)
            found = records(skip, min(skip + limit, 25))
            return answer(found, len(found))

        assert ids(await read(serve, page_size=10)) == list(range(25))

    async def test_a_source_with_smaller_pages_than_asked_for(self) -> None:
        def serve(request: httpx.Request) -> httpx.Response:
            skip, _ = asked(request)
            return answer(records(skip, min(skip + 3, 10)), 10)

        assert ids(await read(serve, page_size=10)) == list(range(10))

    async def test_an_end_before_the_total_is_not_a_complete_pass(self) -> None:
        def serve(request: httpx.Request) -> httpx.Response:
            skip, limit = asked(request)
            return answer(records(skip, min(skip + limit, 10)), 100)

        with pytest.raises(ProviderPagingError, match="states 100 products and stops after 10"):
            await read(serve, page_size=10)

    async def test_the_same_page_for_ever(self) -> None:
        with pytest.raises(ProviderPagingError, match="after 10 records came before"):
            await read(lambda _: answer(records(0, 10), 1_000), page_size=10)

    async def test_the_same_page_for_ever_after_a_resume(self) -> None:
        calls = 0

        def serve(request: httpx.Request) -> httpx.Response:
            nonlocal calls
            calls += 1
            return answer(records(0, 10), 1_000)

        first = await anext(provider(serve, page_size=10).pages())
        with pytest.raises(ProviderPagingError):
            await read(serve, first.next_cursor, page_size=10)
        assert calls == 2

    async def test_pages_in_a_circle(self) -> None:
        def serve(request: httpx.Request) -> httpx.Response:
            skip = asked(request)[0] % 30
            return answer(records(skip, skip + 10), 1_000)

        with pytest.raises(ProviderPagingError, match="after 30 records came before"):
            await read(serve, page_size=10)

    async def test_the_same_records_without_ids_are_a_circle_too(self) -> None:
        with pytest.raises(ProviderPagingError):
            await read(lambda _: answer([{"title": "a"}] * 10, 1_000), page_size=10)

    async def test_a_source_without_skip_that_has_said_all(self) -> None:
        assert ids(await read(lambda _: answer(records(0, 10), 10), page_size=10)) == list(range(10))

    async def test_everything_at_once_is_cut_to_our_size(self) -> None:
        pages = await read(lambda _: answer(records(0, 25), 25), page_size=10)
        assert [len(page.items) for page in pages] == [10, 10, 5]
        rest = await read(
            lambda request: answer(records(asked(request)[0], 25), 25), pages[0].next_cursor, page_size=10
        )
        assert ids(rest) == list(range(10, 25))

    async def test_the_same_product_on_two_pages_is_let_through(self) -> None:
        """One was added at the front between two pages, so the last of the first page comes again."""

        def serve(request: httpx.Request) -> httpx.Response:
            skip, limit = asked(request)
            found = records(0, 19) if skip == 0 else records(-1, 19)
            return answer(found[skip : skip + limit], len(found))

        assert ids(await read(serve, page_size=10)) == [*range(10), *range(9, 19)]

    async def test_no_end_in_pages(self) -> None:
        calls = 0

        def serve(request: httpx.Request) -> httpx.Response:
            nonlocal calls
            calls += 1
            skip, limit = asked(request)
            return answer(records(skip, skip + limit), skip + 1_000)

        with pytest.raises(ProviderPagingError, match="No end after 5 pages"):
            await read(serve, page_size=10, max_pages=5)
        assert calls == 6

    async def test_no_end_in_records(self) -> None:
        def serve(request: httpx.Request) -> httpx.Response:
            skip, limit = asked(request)
            return answer(records(skip, skip + limit), skip + 1_000)

        with pytest.raises(ProviderPagingError, match="No end after 45 records"):
            await read(serve, page_size=10, max_records=45)

    async def test_a_resumed_pass_has_the_same_caps(self) -> None:
        def serve(request: httpx.Request) -> httpx.Response:
            skip, limit = asked(request)
            return answer(records(skip, skip + limit), skip + 1_000)

        cursor: str | None = None
        for _ in range(5):
            page = await anext(provider(serve, page_size=10, max_pages=5).pages(cursor))
            cursor = page.next_cursor
        with pytest.raises(ProviderPagingError, match="No end after 5 pages"):
            await anext(provider(serve, page_size=10, max_pages=5).pages(cursor))

    async def test_no_end_in_bytes(self) -> None:
        def serve(request: httpx.Request) -> httpx.Response:
            skip, limit = asked(request)
            return answer(records(skip, skip + limit), skip + 1_000)

        first = await anext(provider(serve, page_size=10, max_bytes=2_000).pages())
        with pytest.raises(ProviderPagingError, match="No end after 2000 bytes"):
            await read(serve, first.next_cursor, page_size=10, max_bytes=2_000)

    async def test_the_caps_are_inclusive(self) -> None:
        def serve(request: httpx.Request) -> httpx.Response:
            skip, limit = asked(request)
            return answer(records(skip, min(skip + limit, 50)), 50)

        assert len(ids(await read(serve, page_size=10, max_pages=5, max_records=50))) == 50

    @pytest.mark.parametrize(
        "cursor",
        [
            "",
            "x",
            "1",
            "100:1:194:0123456789abcdef",
            "[]",
            '["page"]',
            '["offset","",-1]',
            '["offset","",0,0,0,null,"zz"]',
            '["offset","",0,0,0,null,"0123456789abcdef",0,0]',
            '["offset","' + "x" * 4_001 + '"]',
            '["offset"]\ud800',
        ],
    )
    async def test_a_cursor_of_somebody_else(self, cursor: str) -> None:
        with pytest.raises(ProviderMisconfigured, match="start the pass anew"):
            await read(raw(), cursor)

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 40), st.integers(0, 30)), min_size=1, max_size=8))
    async def test_any_script_ends(self, script: list[tuple[int, int, int]]) -> None:
        """Whatever the counts and totals are, a pass ends, and within its caps."""
        calls = 0

        def serve(request: httpx.Request) -> httpx.Response:
            nonlocal calls
            start, total, count = script[calls % len(script)]
            calls += 1
            return answer(records(start, start + count), total)

        with contextlib.suppress(ProviderPagingError):
            await read(serve, page_size=10, max_pages=10, max_records=200)
        assert calls <= 11
