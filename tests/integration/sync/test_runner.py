"""Runs with sources that misbehave in ways that no HTTP server can, against the real catalog."""

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

import httpx
import psycopg
import pytest
from msgspec import structs

from common.postgres import Postgres
from sync import database, leases, runner, timings
from sync.catalog import CatalogClient, CatalogUnavailable
from sync.providers import ExternalProduct, Page, ProviderUnavailable, Reject
from sync.results import RunResult
from sync.runner import RunDependencies
from sync.settings import SyncSettings
from tests.fixtures.catalog import Auth
from tests.fixtures.waiting import until
from tests.integration.sync.conftest import Launch, Make, install_hostile_providers, requested

Rows = psycopg.Connection[Any]
Pages = Callable[[str | None], AsyncIterator[Page]]


class Scripted:
    """A provider whose pages come from a function of the cursor."""

    name: ClassVar[str] = "scripted"

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def pages(self, cursor: str | None = None) -> AsyncIterator[Page]:
        return self._pages(cursor)

    async def validate(self) -> None: ...

    async def aclose(self) -> None: ...


def items(first: int, last: int) -> tuple[ExternalProduct, ...]:
    return tuple(
        ExternalProduct(external_id=str(number), name=f"Product {number}", price=Decimal("0.10"), category="things")
        for number in range(first, last + 1)
    )


class Bench:
    """Runs of scripted providers."""

    def __init__(self, settings: SyncSettings, db: Postgres, http: httpx.AsyncClient) -> None:
        self.settings = settings
        self.db = db
        self.http = http
        self.shutdown = asyncio.Event()

    async def run(self, pages: Pages, run_id: UUID | None = None, retry_seconds: float = 60) -> RunResult:
        run_id = run_id or (await requested(self.db, self.settings)).id
        catalog = CatalogClient(self.settings, self.http, retry_seconds=retry_seconds)
        return await runner.execute(
            run_id, RunDependencies(self.settings, self.db, catalog, lambda _: Scripted(pages), self.shutdown)
        )


@pytest.fixture
async def bench(settings_of: Make, catalog_process: str, auth_process: Auth, products: Rows) -> AsyncIterator[Bench]:
    settings = settings_of(catalog_url=catalog_process, auth_url=auth_process.url)
    async with database.connect(settings, "test") as db, httpx.AsyncClient() as http:  # unchecked: the worker's own
        yield Bench(settings, db, http)


def stored(products: Rows) -> int:
    return int(products.execute("SELECT count(*) FROM catalog.products").fetchone()[0])  # type: ignore[index]


class TestPages:
    async def test_a_page_of_any_size_is_staged_in_parts(self, bench: Bench, products: Rows) -> None:
        rejects = tuple(Reject(external_id=None, reason="name: is missing", payload="{}") for _ in range(130))

        async def pages(cursor: str | None) -> AsyncIterator[Page]:
            assert cursor is None
            yield Page(items=items(1, 1300), rejects=rejects, next_cursor="next")
            yield Page(items=items(1301, 1301))

        result = await bench.run(pages)
        assert (result.outcome, result.counts.fetched, result.counts.created, result.counts.rejected) == (
            "succeeded", 1431, 1301, 130,
        )  # fmt: skip
        assert stored(products) == 1301

    async def test_a_page_that_was_cut_in_parts_is_read_again(self, bench: Bench, products: Rows, rows: Rows) -> None:
        asked = []

        async def pages(cursor: str | None) -> AsyncIterator[Page]:
            asked.append(cursor)
            if cursor is None:
                yield Page(items=items(1, 10), next_cursor="a")
            yield Page(items=items(11, 1200))

        run = await requested(bench.db, bench.settings)
        claimed = await leases.claim(bench.db, bench.settings, run.id)
        assert claimed
        assert claimed.fence
        staged = await CatalogClient(bench.settings, bench.http).open(run.source, run.id, claimed.fence)
        await staged.stage(Page(items=items(1, 10), next_cursor="a"))
        await staged._stage(list(items(11, 500)), [], staged._next_chunk())
        rows.execute("UPDATE sync.runs SET lease_until = now() - interval '1 s'")
        result = await bench.run(pages, run.id)
        assert (result.outcome, result.attempt, asked) == ("succeeded", 2, ["a"])
        assert stored(products) == 1200

    async def test_a_source_without_products_is_a_good_source(self, bench: Bench) -> None:
        async def pages(cursor: str | None) -> AsyncIterator[Page]:
            yield Page(items=())

        assert (await bench.run(pages)).outcome == "succeeded"

    async def test_a_pass_without_a_last_page_merges_nothing(self, bench: Bench, products: Rows) -> None:
        async def pages(cursor: str | None) -> AsyncIterator[Page]:
            yield Page(items=items(1, 5), next_cursor="more")

        result = await bench.run(pages)
        assert (result.outcome, result.error) == ("failed", "the provider stopped before its last page")
        assert stored(products) == 0

    async def test_a_few_bad_records_of_few_are_no_reason_to_stop(self, bench: Bench) -> None:
        async def pages(cursor: str | None) -> AsyncIterator[Page]:
            yield Page(items=items(1, 10), rejects=(Reject(external_id="x", reason="r", payload="p"),) * 9)

        assert (await bench.run(pages)).outcome == "succeeded"


class TestBadProvider:
    async def test_products_that_break_the_contract_become_rejects(self, bench: Bench, products: Rows) -> None:
        """An adapter of others may build its products without the checks of `sync.providers.records`."""
        good = items(1, 1)[0]
        bad = [
            structs.replace(good, external_id="2", currency="dollars"),
            structs.replace(good, external_id="3", currency="ZZZ"),
            structs.replace(good, external_id="4", name="\u200b"),
            structs.replace(good, external_id="5", price=Decimal("1.005")),
            structs.replace(good, external_id="6", image_url="https://a b"),
            structs.replace(good, external_id="7", attributes={"n": float("nan")}),
            structs.replace(good, external_id="8", stock="many"),
            structs.replace(good, external_id="x" * 201),
        ]

        async def pages(cursor: str | None) -> AsyncIterator[Page]:
            yield Page(items=(*bad, good))

        result = await bench.run(pages)
        assert (result.outcome, result.counts.created, result.counts.rejected) == ("succeeded", 1, len(bad)), (
            result.error
        )
        kept = products.execute("SELECT external_id, reason FROM catalog.import_rejects ORDER BY id").fetchall()
        assert [(external_id, reason.partition(":")[0]) for external_id, reason in kept] == [
            ("2", "currency"), ("3", "currency"), ("4", "name"), ("5", "price"), ("6", "image_url"),
            ("7", "attributes"), ("8", "stock"), (None, "external_id"),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (SystemExit(3), "the provider tried to end the worker"),
            (RuntimeError("key=hunter2"), "page 2: unexpected RuntimeError; see the worker's log"),
            (ProviderUnavailable("x" * 10**6), f"page 2: ProviderUnavailable: {'x' * 1971}..."),
        ],
    )
    async def test_what_it_raises_fails_the_run(
        self, bench: Bench, products: Rows, rows: Rows, error: BaseException, text: str
    ) -> None:
        async def pages(cursor: str | None) -> AsyncIterator[Page]:
            yield Page(items=items(1, 5), next_cursor="more")
            raise error

        assert (await bench.run(pages)).outcome == "failed"
        assert rows.execute("SELECT state, error FROM sync.runs").fetchone() == ("failed", text)
        assert stored(products) == 0

    async def test_a_hanging_one_is_ended_by_the_clock(
        self, bench: Bench, rows: Rows, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(timings, "RUN_LIMIT", 0.3)

        async def pages(cursor: str | None) -> AsyncIterator[Page]:
            await asyncio.Event().wait()
            yield Page(items=())

        result = await bench.run(pages)
        assert result.outcome == "failed"
        assert result.error
        assert "minutes after its start" in result.error
        assert result.resumable

    async def test_the_clock_counts_from_the_first_attempt(self, bench: Bench, rows: Rows) -> None:
        async def pages(cursor: str | None) -> AsyncIterator[Page]:
            await asyncio.Event().wait()
            yield Page(items=())

        run = await requested(bench.db, bench.settings)
        await leases.claim(bench.db, bench.settings, run.id)
        rows.execute(
            "UPDATE sync.runs SET started_at = now() - interval '26 min', lease_until = now() - interval '1 s'"
        )
        assert (await bench.run(pages, run.id)).outcome == "failed"


class TestLostRun:
    async def test_who_has_lost_it_stops_at_once_and_writes_nothing(
        self, bench: Bench, rows: Rows, products: Rows, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(timings, "RENEWAL", 0.05)
        taken: list[Any] = []

        async def pages(cursor: str | None) -> AsyncIterator[Page]:
            yield Page(items=items(1, 5), next_cursor="more")
            rows.execute("UPDATE sync.runs SET fence = fence + 1, attempt = attempt + 1")
            taken.append(rows.execute("SELECT * FROM sync.runs").fetchone())
            await asyncio.Event().wait()
            yield Page(items=())

        result = await asyncio.wait_for(bench.run(pages), 60)
        assert result.outcome == "lost"
        assert rows.execute("SELECT * FROM sync.runs").fetchone() == taken[0]

    async def test_catalog_refuses_the_page_of_a_stale_worker(self, bench: Bench, rows: Rows, products: Rows) -> None:
        async def pages(cursor: str | None) -> AsyncIterator[Page]:
            yield Page(items=items(1, 5), next_cursor="more")
            products.execute("UPDATE catalog.imports SET fence = fence + 1")
            yield Page(items=items(6, 9))

        result = await bench.run(pages)
        assert result.outcome == "lost"
        assert rows.execute("SELECT state FROM sync.runs").fetchone() == ("running",)
        assert stored(products) == 0

    async def test_a_run_goes_on_above_the_fences_that_a_restored_backup_has_lost(
        self, bench: Bench, rows: Rows, products: Rows
    ) -> None:
        async def pages(cursor: str | None) -> AsyncIterator[Page]:
            yield Page(items=items(1, 5))

        assert (await bench.run(pages)).outcome == "succeeded"
        rows.execute("UPDATE sync.sources SET fence = 0")
        products.execute("UPDATE catalog.imports SET fence = 50")
        refused = await bench.run(pages)
        assert refused.outcome == "handed_back"
        assert (await bench.run(pages, refused.run_id)).outcome == "succeeded"
        assert products.execute("SELECT fence FROM catalog.imports").fetchone() == (51,)

    async def test_who_has_lost_it_raises_no_fence(self, bench: Bench, rows: Rows) -> None:
        run = await requested(bench.db, bench.settings)
        stale = await leases.claim(bench.db, bench.settings, run.id)
        assert stale is not None
        rows.execute("UPDATE sync.runs SET fence = fence + 1")
        before = rows.execute("SELECT fence FROM sync.sources").fetchone()
        assert not await leases.release(bench.db, stale, above=50)
        assert rows.execute("SELECT fence FROM sync.sources").fetchone() == before


class TestStop:
    async def test_the_page_at_hand_is_finished_and_the_run_handed_back(self, bench: Bench, rows: Rows) -> None:
        async def pages(cursor: str | None) -> AsyncIterator[Page]:
            bench.shutdown.set()
            yield Page(items=items(1, 5), next_cursor="more")
            raise AssertionError("asked for another page")

        result = await bench.run(pages)
        assert (result.outcome, result.pages) == ("handed_back", 1)
        state = rows.execute("SELECT state, lease_until, pages, fetched FROM sync.runs").fetchone()
        assert state == ("queued", None, 1, 5)


class TestCatalog:
    async def test_a_token_that_was_revoked_is_renewed_once(self, bench: Bench) -> None:
        catalog = CatalogClient(bench.settings, bench.http)
        catalog._token, catalog._expires = "not a token", float("inf")
        run = await requested(bench.db, bench.settings)
        staged = await catalog.open(run.source, run.id, 1)
        assert staged.cursor is None
        assert catalog._token != "not a token"

    async def test_it_waits_for_catalog_and_then_gives_up(self, bench: Bench, settings_of: Make) -> None:
        async def pages(cursor: str | None) -> AsyncIterator[Page]:
            yield Page(items=())

        bench.settings = settings_of(catalog_url="http://127.0.0.1:1", auth_url=bench.settings.auth_url)
        result = await bench.run(pages, retry_seconds=0.5)
        assert result.error == "catalog does not answer (ConnectError), for 0.5 s"

    async def test_it_does_not_repeat_what_is_refused(self, bench: Bench, settings_of: Make) -> None:
        wrong = settings_of(
            catalog_url=bench.settings.catalog_url, auth_url=bench.settings.auth_url, sync_client_secret="wrong" * 10
        )

        async def pages(cursor: str | None) -> AsyncIterator[Page]:
            yield Page(items=())

        bench.settings = wrong
        result = await asyncio.wait_for(bench.run(pages), 60)
        assert result.outcome == "failed"
        assert result.error
        assert result.error.startswith("auth answers 401")

    async def test_server_errors_are_repeated(self, bench: Bench) -> None:
        answers = [503, 500, 429, 200]

        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path == "/auth/token":
                return httpx.Response(200, json={"access_token": "t", "expires_in": 300})
            state = {"cursor": "c", "staged": 1, "rejected": 0, "complete": False}
            return httpx.Response(answers.pop(0), json=state)

        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:  # unchecked: the worker's own
            staged = await CatalogClient(bench.settings, http).open("dummyjson", UUID(int=1), 1)
            assert (staged.cursor, answers) == ("c", [])
            answers += [500] * 9
            with pytest.raises(CatalogUnavailable, match="catalog answers 500, for 1 s"):
                await CatalogClient(bench.settings, http, retry_seconds=1).open("dummyjson", UUID(int=1), 1)


class TestInstalledProvider:
    @pytest.mark.parametrize(("name", "within"), [("leaves", 15), ("hangs", 35)])
    def test_one_that_kills_or_blocks_its_process_is_counted_and_the_worker_lives(
        self, launch: Launch, rows: Rows, tmp_path: Any, name: str, within: int
    ) -> None:
        install_hostile_providers(tmp_path)
        settings = {"EXTERNAL_API_PROVIDER": name, "PYTHONPATH": str(tmp_path)}
        launch("schedule", **settings)
        worker = launch("work", **settings)
        until(worker.healthy)
        killed = f'products_sync_runs_total{{outcome="killed",source="{name}"}}'
        until(lambda: worker.figure(killed) >= 1, within)
        assert worker.process.poll() is None
        until(lambda: rows.execute("SELECT max(attempt) FROM sync.runs").fetchone() == (2,), 20)
