"""Who gets which run: the rules that PostgreSQL keeps for any number of processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest

from common.postgres import Postgres
from imports.counts import Counts
from sync import database, leases, runs, sources, stalled
from sync.runs import RunRow
from sync.settings import SyncSettings
from sync.states import RunState
from tests.integration.sync.conftest import Make, requested

Rows = psycopg.Connection[Any]


@pytest.fixture
def settings(settings_of: Make) -> SyncSettings:
    return settings_of()


@pytest.fixture
async def dbs(settings: SyncSettings) -> AsyncIterator[list[Postgres]]:
    """Ten processes, as PostgreSQL sees them."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(database.connect(settings, "test")) for _ in range(10)]


def expire(rows: Rows) -> None:
    rows.execute("UPDATE sync.runs SET lease_until = now() - interval '1 ms' WHERE state = 'running'")


async def claimed(db: Postgres, settings: SyncSettings) -> RunRow:
    run = await leases.claim(db, settings, (await requested(db, settings)).id)
    assert run is not None
    return run


class TestRequest:
    async def test_parallel_requests_get_one_run(self, dbs: list[Postgres], settings: SyncSettings, rows: Rows) -> None:
        for _ in range(5):
            found = await asyncio.gather(*(requested(db, settings) for db in dbs for _ in range(5)))
            assert len({run.id for run in found}) == 1
            active = "SELECT count(*) FROM sync.runs WHERE state IN ('queued', 'running')"
            assert rows.execute(active).fetchone() == (1,)
            rows.execute("UPDATE sync.runs SET state = 'failed'")
        assert rows.execute("SELECT count(*) FROM sync.runs").fetchone() == (5,)

    async def test_the_database_itself_refuses_a_second_active_run(
        self, dbs: list[Postgres], settings: SyncSettings, rows: Rows
    ) -> None:
        await claimed(dbs[0], settings)
        with pytest.raises(psycopg.errors.UniqueViolation):
            rows.execute("INSERT INTO sync.runs (source, trigger) VALUES ('dummyjson', 'manual')")

    async def test_requests_against_claims_and_ends_never_deadlock(
        self, dbs: list[Postgres], settings: SyncSettings, rows: Rows
    ) -> None:
        async def ask(db: Postgres) -> None:
            for _ in range(30):
                await requested(db, settings)

        async def work(db: Postgres) -> int:
            done = 0
            while done < 20:
                run = await requested(db, settings)
                if mine := await leases.claim(db, settings, run.id):
                    await leases.release(db, mine)
                if mine := await leases.claim(db, settings, run.id):
                    done += await leases.finish(db, mine, pages=1, counts=Counts())
            return done

        await asyncio.wait_for(asyncio.gather(*map(ask, dbs[:6]), *map(work, dbs[6:])), 30)
        assert rows.execute("SELECT count(*) FROM sync.runs WHERE state = 'succeeded'").fetchone() == (80,)

    async def test_the_first_run_is_asked_for_once(
        self, dbs: list[Postgres], settings: SyncSettings, rows: Rows
    ) -> None:
        await sources.register(dbs[0], settings)
        found = await asyncio.gather(*(runs.request_due(db, settings.source, ever_synced=False) for db in dbs))
        assert len([run for run in found if run]) == 1
        rows.execute("UPDATE sync.runs SET state = 'succeeded'")
        assert await runs.request_due(dbs[0], settings.source, ever_synced=False) is None

    async def test_a_slot_is_claimed_once_and_not_while_a_run_is_active(
        self, dbs: list[Postgres], settings: SyncSettings, rows: Rows
    ) -> None:
        await sources.register(dbs[0], settings)
        found = await asyncio.gather(*(runs.claim_slot(db, settings.source, 7) for db in dbs))
        assert len([run for run in found if run]) == 1
        assert await runs.claim_slot(dbs[0], settings.source, 8) is None
        rows.execute("UPDATE sync.runs SET state = 'succeeded'")
        assert await runs.claim_slot(dbs[0], settings.source, 7) is None
        assert await runs.claim_slot(dbs[0], settings.source, 8) is not None

    async def test_the_address_is_stored_without_its_secrets(
        self, dbs: list[Postgres], settings_of: Make, rows: Rows
    ) -> None:
        url = "https://me:hunter2@api.example:8443/products?key=abc#x"
        await requested(dbs[0], settings_of(external_api_url=url))
        assert rows.execute("SELECT url FROM sync.sources").fetchone() == ("https://api.example:8443/products",)


class TestLease:
    async def test_one_of_ten_claims_wins(self, dbs: list[Postgres], settings: SyncSettings) -> None:
        run = await requested(dbs[0], settings)
        found = [mine for mine in await asyncio.gather(*(leases.claim(db, settings, run.id) for db in dbs)) if mine]
        assert [(mine.state, mine.fence, mine.attempt) for mine in found] == [("running", 1, 1)]
        assert await leases.claim(dbs[0], settings, run.id) is None

    async def test_an_expired_lease_is_taken_with_a_higher_fence(
        self, dbs: list[Postgres], settings: SyncSettings, rows: Rows
    ) -> None:
        old = await claimed(dbs[0], settings)
        expire(rows)
        new = await leases.claim(dbs[1], settings, old.id)
        assert new
        assert old.fence
        assert new.fence
        assert new.fence > old.fence
        assert new.attempt == 2
        before = rows.execute("SELECT * FROM sync.runs").fetchall()
        assert not await leases.renew(dbs[0], old, pages=9, counts=Counts(fetched=9, rejected=9))
        assert not await leases.finish(dbs[0], old, pages=9, counts=Counts(9), error="no")
        assert not await leases.release(dbs[0], old)
        assert rows.execute("SELECT * FROM sync.runs").fetchall() == before
        assert await leases.finish(dbs[1], new, pages=2, counts=Counts(fetched=5, created=5))

    async def test_who_slept_through_his_lease_keeps_the_run_if_nobody_took_it(
        self, dbs: list[Postgres], settings: SyncSettings, rows: Rows
    ) -> None:
        run = await claimed(dbs[0], settings)
        expire(rows)
        assert await leases.renew(dbs[0], run, pages=1, counts=Counts(fetched=100))
        assert await leases.claim(dbs[1], settings, run.id) is None

    async def test_a_run_that_was_handed_back_waits_for_the_next(
        self, dbs: list[Postgres], settings: SyncSettings, rows: Rows
    ) -> None:
        run = await claimed(dbs[0], settings)
        assert await leases.release(dbs[0], run)
        waiting = await requested(dbs[1], settings)
        assert (waiting.id, waiting.state) == (run.id, RunState.QUEUED)
        again = await leases.claim(dbs[1], settings, run.id)
        assert again
        assert again.attempt == 2
        assert again.started_at == run.started_at

    async def test_an_ended_run_cannot_be_claimed(
        self, dbs: list[Postgres], settings: SyncSettings, rows: Rows
    ) -> None:
        for error in (None, "broken"):
            run = await claimed(dbs[0], settings)
            assert await leases.finish(dbs[0], run, pages=1, counts=Counts(), error=error)
            assert await leases.claim(dbs[1], settings, run.id) is None
            ended = rows.execute("SELECT state, error FROM sync.runs WHERE id = %s", [run.id]).fetchone()
            assert ended == ("failed" if error else "succeeded", error)

    async def test_only_runs_that_need_a_worker_wait(
        self, dbs: list[Postgres], settings: SyncSettings, rows: Rows
    ) -> None:
        run = await requested(dbs[0], settings)
        assert await stalled.list_stalled(dbs[0], settings) == []
        rows.execute("UPDATE sync.runs SET created_at = now() - interval '3.1 s'")
        assert [found.id for found in await stalled.list_stalled(dbs[0], settings)] == [run.id]
        assert await leases.claim(dbs[0], settings, run.id)
        assert await stalled.list_stalled(dbs[0], settings) == []
        expire(rows)
        assert [found.id for found in await stalled.list_stalled(dbs[0], settings)] == [run.id]


class TestOtherSources:
    """Two releases of sync on one PostgreSQL, or one whose settings have changed."""

    @pytest.mark.parametrize(
        "other",
        [{"external_api_provider": "shop"}, {"external_api_url": "https://b.example/products"}],
        ids=["provider", "address"],
    )
    async def test_a_worker_takes_no_run_of_another_source(
        self, dbs: list[Postgres], settings: SyncSettings, settings_of: Make, rows: Rows, other: dict[str, str]
    ) -> None:
        run = await requested(dbs[0], settings)
        await requested(dbs[1], settings_of(**other))
        assert await leases.claim(dbs[1], settings_of(**other), run.id) is None
        rows.execute("UPDATE sync.runs SET created_at = now() - interval '1 minute'")
        assert run.id not in {it.id for it in await stalled.list_stalled(dbs[1], settings_of(**other))}
        assert [it.id for it in await stalled.list_stalled(dbs[0], settings)] == [run.id]
        assert await leases.claim(dbs[0], settings, run.id)

    async def test_a_run_for_an_old_address_ends_when_no_worker_has_it(
        self, dbs: list[Postgres], settings: SyncSettings, settings_of: Make, rows: Rows
    ) -> None:
        run = await claimed(dbs[0], settings)
        moved = settings_of(external_api_url="https://b.example/products")
        assert await stalled.end_abandoned(dbs[1], moved) == []
        assert await stalled.end_abandoned(dbs[1], settings) == []
        expire(rows)
        assert await stalled.end_abandoned(dbs[1], settings) == []
        assert [(it.id, it.state) for it in await stalled.end_abandoned(dbs[1], moved)] == [(run.id, "failed")]
        new = await requested(dbs[1], moved)
        assert new.id != run.id
        assert await leases.claim(dbs[1], moved, new.id)

    async def test_a_run_of_a_source_that_nobody_reads_any_more_ends(
        self, dbs: list[Postgres], settings: SyncSettings, settings_of: Make, rows: Rows
    ) -> None:
        run = await requested(dbs[0], settings)
        other = settings_of(external_api_provider="shop")
        rows.execute("UPDATE sync.runs SET created_at = now() - interval '29 minutes'")
        assert await stalled.end_abandoned(dbs[1], other) == []
        rows.execute("UPDATE sync.runs SET created_at = now() - interval '31 minutes'")
        assert await stalled.end_abandoned(dbs[0], settings) == [], "its own workers may come late"
        assert [it.id for it in await stalled.end_abandoned(dbs[1], other)] == [run.id]
