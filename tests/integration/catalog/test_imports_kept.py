"""What is kept of a run, for how long, and what becomes of a pass whose staged rows are lost."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from catalog import run_reads
from catalog.app import build
from catalog.settings import CatalogSettings
from stack.servers.postgres import PostgresServer
from tests.fixtures.catalog import Auth
from tests.fixtures.databases import migrate
from tests.fixtures.imports import Importer, connected, counts, item
from tests.fixtures.service import serving
from tests.fixtures.stack import folder
from tests.fixtures.waiting import until

TABLES = ("import_rows", "import_rejects", "run_changes", "import_runs")


def reject(name: str, position: int | None = None) -> dict[str, Any]:
    return {"external_id": name, "reason": "price: must be a number", "payload": "{}", "position": position}


def sizes(settings: CatalogSettings) -> dict[str, int]:
    with connected(settings) as connection:
        found = {name: connection.execute(f"SELECT count(*) FROM catalog.{name}").fetchone() for name in TABLES}
    return {name: row[0] for name, row in found.items() if row}


async def test_rejects_are_kept_of_older_runs_and_paged(catalog: httpx.AsyncClient, auth_process: Auth) -> None:
    old = await Importer(catalog, auth_process).take([], [reject(str(number), number) for number in range(5)])
    await (await Importer(catalog, auth_process).take([item("a")], [reject("b")])).done("apply")
    first = await old.listed("rejects", limit=3)
    assert [it["external_id"] for it in first["items"]] == ["0", "1", "2"]
    second = await old.listed("rejects", limit=3, after=first["next"])
    assert [it["position"] for it in second["items"]] == [3, 4]
    assert second["next"] is None
    assert second["items"][0] | {"id": 0} == {"id": 0} | reject("3", 3)


async def test_a_discarded_run_keeps_its_rejects_and_can_begin_anew(
    catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
) -> None:
    run = await Importer(catalog, auth_process).take([item("a"), item("b")], [reject("c")])
    await run.done("plan")
    assert (await run.discard()).json() == {"staged": 0, "rejected": 1}
    assert sizes(catalog_settings) == {"import_rows": 0, "import_rejects": 1, "run_changes": 0, "import_runs": 1}
    assert (await run.step("apply", planned=True)).status_code == 409
    assert (await run.step("apply")).status_code == 409
    assert (await run.open()).json() == {
        "cursor": None,
        "staged": 0,
        "rejected": 0,
        "complete": False,
        "applying": False,
    }
    assert (await run.stage(None, None, [item("a")], [reject("c")])).status_code == 200
    assert await run.done("apply") == counts(created=1, rejected=1)
    assert len((await run.listed("rejects"))["items"]) == 1
    assert (await run.discard()).status_code == 200
    assert await run.done("apply") == counts(created=1, rejected=1), "what is applied is not discarded"


async def test_old_runs_are_pruned_but_not_the_current_one(
    catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_reads, "PRUNED_AT_ONCE", 4)
    old, current = Importer(catalog, auth_process), Importer(catalog, auth_process)
    for run, price in ((old, 1), (current, 2)):
        items = [item(str(number), price=price) for number in range(10)]
        await (await run.take(items, [reject("x"), reject("y")])).done("apply")

    async def pruned(before: datetime) -> list[tuple[int, int]]:
        found, done = [], False
        while not done:
            body = {"before": before.isoformat()}
            answer = await catalog.post("/internal/imports/prune", json=body, headers=auth_process.sync)
            assert answer.status_code == 200, answer.text
            done = answer.json()["done"]
            found.append((answer.json()["changes"], answer.json()["rejects"]))
        return found

    assert await pruned(datetime.now(UTC) - timedelta(hours=1)) == [(0, 0)]
    assert await pruned(datetime.now(UTC) + timedelta(hours=1)) == [(4, 2), (4, 0), (2, 0)]
    assert sizes(catalog_settings) == {"import_rows": 0, "import_rejects": 2, "run_changes": 10, "import_runs": 1}
    undo = Importer(catalog, auth_process)
    await undo.open()
    assert (await undo.step("revert", of=str(old.run_id))).status_code == 409
    assert await undo.done("revert", of=str(current.run_id)) == counts() | {"updated": 10}


async def test_a_pass_that_lost_some_of_its_rows_begins_anew(
    catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
) -> None:
    await Importer(catalog, auth_process).run([item("a"), item("b"), item("c")])
    run = await Importer(catalog, auth_process).take([item("a"), item("b"), item("c")])
    with connected(catalog_settings) as connection:
        connection.execute("DELETE FROM catalog.import_rows WHERE external_id <> 'a'")
    for step in ("compare", "plan", "apply"):
        answer = await run.step(step, missing="remove")
        assert answer.json() | {"request_id": ""} == answer.json() | {
            "status": 409, "fence": 1, "detail": "PostgreSQL has lost what was staged: the pass begins anew.",
            "request_id": "",
        }  # fmt: skip
    run.fence = 2
    assert (await run.open()).json() == {
        "cursor": None,
        "staged": 0,
        "rejected": 0,
        "complete": False,
        "applying": False,
    }
    assert (await catalog.get("/products")).json()["total"] == 3


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server that the test may crash."""
    with folder() as run_dir, PostgresServer(run_dir) as server:
        migrate("catalog", server.url("catalog"))
        yield server


async def test_after_a_crash_of_postgresql_nothing_is_merged_of_half_a_pass(
    own_postgres: PostgresServer, auth_process: Auth, catalog_settings: CatalogSettings
) -> None:
    """Neither of one that is being staged, nor of one that is complete; a plan is whole and can be applied."""
    settings = catalog_settings.model_copy(
        update={"database_url": type(catalog_settings.database_url)(own_postgres.url("catalog"))}
    )
    async with serving(build(settings)) as client:
        staging, complete, planned, ended = (
            Importer(client, auth_process, source=name) for name in ("staging", "complete", "planned", "ended")
        )
        for run in (staging, complete, planned, ended):
            await Importer(client, auth_process, source=run.url.split("/")[3]).run([item("a"), item("b")])
            await run.open()
            await run.stage(None, "p2", [item("a", stock=1)])
        for run in (complete, planned, ended):
            await run.stage("p2", None, [item("b", stock=1)])
        await planned.done("plan")
        await ended.done("apply")
        crash(own_postgres)
        until(lambda: answers(own_postgres), 30)
        late = await staging.stage("p2", None, [item("b", stock=1)])
        for answer in (late, await complete.step("apply", missing="remove"), await complete.step("compare")):
            assert answer.status_code == 409, answer.text
            assert answer.json()["fence"] == 1
        planned.fence = 2
        assert (await planned.open()).json()["complete"] is True
        assert await planned.done("apply", planned=True) == counts(updated=2)
        assert await ended.done("apply") == counts(updated=2)
        for run in (staging, complete):
            run.fence = 2
            assert (await run.open()).json()["cursor"] is None
            assert (await run.stage(None, None, [item("a", stock=1), item("b")])).status_code == 200
            assert await run.done("apply", missing="remove") == counts(updated=1, unchanged=1)


def crash(server: PostgresServer) -> None:
    """Kill one backend as a defect of its own would: PostgreSQL ends all others and recovers."""
    with psycopg.connect(server.url()) as connection:
        psutil.Process(connection.info.backend_pid).kill()


def answers(server: PostgresServer) -> bool:
    try:
        psycopg.connect(server.url(), connect_timeout=1).close()
    except psycopg.OperationalError:
        return False
    return True
