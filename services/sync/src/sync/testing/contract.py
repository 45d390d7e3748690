"""The contract of a provider, as checks that run in any test framework.

Say how your API serves records, and pytest (with pytest-asyncio in auto mode) runs the checks:

    class TestMyShop(ProviderContract):
        def make(self, config):
            return MyShop(config)

        def record(self, number):
            return {"sku": f"A-{number}", "title": "Lamp", "price": 9.99}

        def bad_records(self):
            return [self.record(90) | {"price": "12,5"}, self.record(91) | {"sku": None}]

        def serve(self, request, records):
            page, size = int(request.url.params["page"]), int(request.url.params["per_page"])
            return httpx.Response(200, json=records[page * size : (page + 1) * size])

`url`, `page_size` and `paged` may be others than they are here. Elsewhere, `await check(TestMyShop())` runs every check
and raises `ContractBroken` at the first that fails.
No check opens a socket, and none takes time if the provider waits by `config.sleep`, as
`sync.providers.http.JsonClient` does. A provider obeys every limit of its `config`.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import Any

import httpx

from imports.product import checked
from sync.providers.base import (
    ExternalAPIProvider,
    Page,
    ProviderAnswerInvalid,
    ProviderConfig,
    ProviderError,
    ProviderPagingError,
    ProviderRefused,
    ProviderUnavailable,
)
from sync.testing.promises import ContractBroken, expect, failure, ids
from sync.testing.source import Fault, ScriptedSource, body, hang, padded, repeat, reset, status, truncated

__all__ = ["ContractBroken", "ProviderContract", "check"]

DEADLINE = 20.0
MAX_PAGES = 50
SECRET = "hush-hush"  # noqa: S105


async def check(contract: "ProviderContract") -> None:
    """Run every check."""
    for name in sorted(dir(contract)):
        if name.startswith("test_"):
            await getattr(contract, name)()


class ProviderContract:
    """Derive from it, and fill in the four methods at the top."""

    url = "https://source.test/products"
    page_size = 3
    paged = True
    """Whether the API has pages; one that answers with everything at once is asked once in a pass."""

    def make(self, config: ProviderConfig) -> ExternalAPIProvider:
        """The provider under test."""
        raise NotImplementedError

    def record(self, number: int) -> Any:
        """A good record as the API sends it; another number is another product."""
        raise NotImplementedError

    def bad_records(self) -> Sequence[Any]:
        """Records that are no products, each for a reason of its own."""
        raise NotImplementedError

    def serve(self, request: httpx.Request, records: list[Any]) -> httpx.Response:
        """Answer as the API does that holds these records."""
        raise NotImplementedError

    @property
    def _late(self) -> int:
        """The number of a request that is not the first, where there is one."""
        return 2 if self.paged else 1

    async def test_it_is_a_provider(self) -> None:
        source, provider = self._source(0)
        expect(isinstance(provider, ExternalAPIProvider), "has name, pages, validate and aclose")
        expect(isinstance(provider.name, str) and provider.name.strip() != "", "has a name")
        expect(source.requests == [], "sends nothing before it is asked to")
        await provider.aclose()

    async def test_pages_cover_everything_once(self) -> None:
        for count in (0, 1, self.page_size, 2 * self.page_size, 2 * self.page_size + 2):
            _, provider = self._source(count)
            pages = await self._collect(provider)
            found = ids(pages)
            expect(len(found) == count, f"yields {count} products of {count}, not {len(found)}")
            expect(len(set(found)) == count, "yields every product once")
            expect(all(len(page.items) <= self.page_size for page in pages), "keeps to the page size")
            expect(pages[-1].next_cursor is None, "ends with a page without a cursor")
            expect(all(page.next_cursor for page in pages[:-1]), "gives every page but the last a cursor")

    async def test_every_cursor_resumes_with_exactly_the_rest(self) -> None:
        _, provider = self._source(3 * self.page_size + 1)
        pages = await self._collect(provider)
        for number, page in enumerate(pages[:-1], start=1):
            rest = await self._collect(self._source(3 * self.page_size + 1)[1], page.next_cursor)
            expect(ids(rest) == ids(pages[number:]), f"resumes after page {number} with exactly the rest")

    async def test_products_are_fit_for_the_catalog(self) -> None:
        _, provider = self._source(2 * self.page_size)
        for page in await self._collect(provider):
            for item in page.items:
                expect(isinstance(item.price, Decimal), "gives prices as Decimal")
                try:
                    checked(item)
                except ValueError as error:
                    raise ContractBroken(f"keeps the limits and rules of imports.product: {error}") from None

    async def test_bad_records_are_rejected_and_good_ones_kept(self) -> None:
        bad = [*self.bad_records(), None, True, 7, "x", [], {}]
        mixed = [record for number, each in enumerate(bad) for record in (each, self.record(number))]
        source = ScriptedSource(self.serve, mixed)
        pages = await self._collect(self.make(source.config(self.url, self.page_size)))
        rejects = [each for page in pages for each in page.rejects]
        expect(len(ids(pages)) == len(bad), f"keeps {len(bad)} good records, not {len(ids(pages))}")
        expect(len(rejects) == len(bad), f"rejects {len(bad)} bad records, not {len(rejects)}")
        for each in rejects:
            expect(each.reason.strip() != "", "says why it rejects")
            expect(len(each.payload.encode()) <= 2_048, "keeps at most 2 KB of a reject")
            expect("\x00" not in f"{each.external_id}{each.reason}{each.payload}", "keeps no NUL")

    async def test_transient_errors_are_unavailable(self) -> None:
        for fault in (status(500), status(503), status(429), reset, hang):
            await self._fails(fault, ProviderUnavailable)
        error = await self._fails(status(429, retry_after="7"), ProviderUnavailable)
        expect((error.retry_after or 0) > 0, "hands on the Retry-After of a 429")

    async def test_permanent_errors_are_refused_or_invalid(self) -> None:
        html = body("<!doctype html><title>Down for maintenance</title>", "text/html")
        for fault in (html, truncated, body("null"), body("7"), body('"x"'), body("")):
            await self._fails(fault, ProviderAnswerInvalid)
        for code in (401, 403, 404):
            await self._fails(status(code), ProviderRefused)

    async def test_redirects_are_not_followed(self) -> None:
        _, provider = self._source(1, status(302, location="https://elsewhere.test/"))
        await self._raises(provider, ProviderError)

    async def test_a_page_too_large_is_invalid(self) -> None:
        _, provider = self._source(1, padded(1_000_000), max_page_bytes=500_000)
        await self._raises(provider, ProviderAnswerInvalid)

    async def test_a_page_that_comes_back_for_ever_is_a_paging_error(self) -> None:
        if not self.paged:
            return
        _, provider = self._source(4 * self.page_size, repeat, since=2, max_pages=20)
        await self._raises(provider, ProviderPagingError)

    async def test_the_caps_are_kept(self) -> None:
        _, provider = self._source(4 * self.page_size, max_records=2 * self.page_size)
        await self._raises(provider, ProviderPagingError)
        if self.paged:
            _, provider = self._source(4 * self.page_size, max_pages=2)
            await self._raises(provider, ProviderPagingError)

    async def test_one_error_is_retried(self) -> None:
        source, provider = self._source(2 * self.page_size, status(503), since=self._late, times=1)
        expect(len(ids(await self._collect(provider))) == 2 * self.page_size, "tries a page again after a 503")
        expect(len(source.sleeps) == 1, "waits by config.sleep before it tries again")

    async def test_validate_reads_little_and_says_what_to_do(self) -> None:
        source, provider = self._source(4 * self.page_size)
        await provider.validate()
        expect(1 <= len(source.requests) <= 2, "validates by one page")
        url = f"{self.url}?key={SECRET}"
        source = ScriptedSource(self.serve, [], status(404))
        error = await failure(self.make(source.config(url, self.page_size)).validate())
        expect(isinstance(error, ProviderRefused), "validate raises what a pass would")
        expect(len(str(error)) > 10 and SECRET not in str(error), "validate says what to do, and no secret")

    async def test_a_caller_may_stop_early_and_close_twice(self) -> None:
        _, provider = self._source(3 * self.page_size)
        before = asyncio.all_tasks()
        async with aclosing(provider.pages()) as pages:  # type: ignore[type-var]
            async for _ in pages:
                break
        await provider.aclose()
        await provider.aclose()
        expect(asyncio.all_tasks() == before, "leaves no task behind")

    async def test_cancelling_in_the_middle_of_a_page_is_clean(self) -> None:
        source, provider = self._source(3 * self.page_size, hang, since=self._late, timeout=DEADLINE)
        before = asyncio.all_tasks()
        task = asyncio.create_task(self._collect(provider))
        async with asyncio.timeout(DEADLINE):
            await source.stuck.wait()
        task.cancel()
        await asyncio.wait({task}, timeout=DEADLINE / 4)
        expect(task.done() and task.cancelled(), "lets a cancellation through at once")
        expect(source.open_bodies == 0, "closes the answer that it was reading")
        expect(asyncio.all_tasks() == before, "leaves no task behind")

    def _source(
        self, count: int = 0, fault: Fault | None = None, *, since: int = 1, times: int = 1_000, **settings: Any
    ) -> tuple[ScriptedSource, ExternalAPIProvider]:
        records = [self.record(number) for number in range(count)]
        source = ScriptedSource(self.serve, records, fault, since=since, times=times)
        return source, self.make(source.config(self.url, self.page_size, **settings))

    async def _collect(self, provider: ExternalAPIProvider, cursor: str | None = None) -> list[Page]:
        """All pages; the provider is closed after it, as a run does."""
        found: list[Page] = []
        try:
            async with asyncio.timeout(DEADLINE):
                async for page in provider.pages(cursor):
                    found.append(page)
                    expect(len(found) <= MAX_PAGES, "comes to an end")
        except TimeoutError:
            raise ContractBroken(f"comes to an end within {DEADLINE} s") from None
        finally:
            await provider.aclose()
        expect(found != [], "yields at least one page")
        return found

    async def _fails(self, fault: Fault, kind: type[ProviderError]) -> ProviderError:
        """The error of the fault, which must be the same on the first page and in the middle of a pass."""
        _, provider = self._source(3 * self.page_size, fault, since=self._late, timeout=0.05)
        await self._raises(provider, kind)
        _, provider = self._source(3 * self.page_size, fault, timeout=0.05)
        return await self._raises(provider, kind)

    async def _raises(self, provider: ExternalAPIProvider, kind: type[ProviderError]) -> ProviderError:
        error = await failure(self._collect(provider))
        expect(isinstance(error, kind), f"raises {kind.__name__}, not {type(error).__name__}: {error}")
        expect(error.retryable is kind.retryable, f"says whether {kind.__name__} is worth another try")
        return error
