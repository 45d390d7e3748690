"""Applying in pieces: cut off anywhere it ends the same, and no product is locked for long."""

import asyncio
import random
import time
from typing import Any

import httpx
import psycopg
import pytest

from catalog import steps
from catalog.settings import CatalogSettings
from tests.fixtures.catalog import Auth
from tests.fixtures.imports import Importer, connected, counts, item, stage_many

FIELDS = "external_id, name, price, stock, version, deleted_at IS NULL, pinned"
KILL = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE usename = 'catalog_svc' AND xact_start IS NOT NULL
"""
SIZE = 300


def found(settings: CatalogSettings, source: str) -> list[tuple[Any, ...]]:
    with connected(settings) as connection:
        query = f"SELECT {FIELDS} FROM catalog.products WHERE source = %s ORDER BY id"
        return connection.execute(query, [source]).fetchall()


def first_pass() -> list[dict[str, Any]]:
    return [item(str(number)) for number in range(SIZE)]


def second_pass() -> list[dict[str, Any]]:
    """A third is as it was, a third changes, a third is missing, as many are new; the last ones come twice."""
    items = [item(str(number), price=number % 2 + 1.25) for number in range(SIZE // 3, SIZE * 4 // 3)]
    return [*items, *(item(str(number), name="Last") for number in range(SIZE, SIZE + 20))]


@pytest.mark.parametrize("planned", [False, True])
async def test_killed_anywhere_it_ends_the_same(
    catalog: httpx.AsyncClient,
    auth_process: Auth,
    catalog_settings: CatalogSettings,
    postgres: str,
    monkeypatch: pytest.MonkeyPatch,
    planned: bool,
) -> None:
    """Its backend dies at a random moment of a step, and another worker goes on with a higher fence."""
    monkeypatch.setattr(steps, "PIECE", 20)
    # One piece a call, so that there are many to kill.
    monkeypatch.setattr(steps, "CALL_SECONDS", 0.0)
    for source in ("calm", "killed"):
        await Importer(catalog, auth_process, source=source).run(first_pass())
    calm = await Importer(catalog, auth_process, source="calm").take(second_pass())
    if planned:
        await calm.done("plan", missing="remove")
    expected = await calm.done("apply", missing="remove", planned=planned)
    assert min(expected[name] for name in ("created", "updated", "unchanged", "duplicates", "removed")) > 0
    killed = await Importer(catalog, auth_process, source="killed").take(second_pass())
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    kills, result = 0, {}
    async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as superuser:
        for step in (["plan"] if planned else []) + ["apply"]:
            body = {"missing": "remove"} | ({"planned": planned} if step == "apply" else {})
            done = False
            while not done:
                running = asyncio.create_task(killed.step(step, **body))
                wanted = kills + 1 if chance.random() < 0.5 else kills
                while kills < wanted and not running.done():
                    await asyncio.sleep(chance.uniform(0, 0.01))
                    row = await (await superuser.execute(KILL)).fetchone()
                    kills += row[0] if row else 0
                answer = await running
                if answer.status_code == 200:
                    done, result = answer.json()["done"], answer.json()["counts"]
                else:
                    assert answer.status_code == 503, answer.text
                    killed.fence += 1
                    assert (await killed.open()).status_code == 200
    assert result == expected, f"seed {seed}"
    assert found(catalog_settings, "killed") == found(catalog_settings, "calm"), f"seed {seed}"
    assert kills > 0, f"seed {seed}: nothing was killed"


async def test_new_products_get_their_ids_in_the_order_of_the_source(
    catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "PIECE", 7)
    names = [str(number) for number in (9, 10, 1, 100, *range(20, 50), 2)]
    await Importer(catalog, auth_process).run([item(name) for name in names])
    assert [row[0] for row in found(catalog_settings, "shop")] == names


async def test_an_edit_waits_for_a_piece_only(
    catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
) -> None:
    """While 50 000 products are updated, and those are edited that are written at that moment."""
    size = 50_000
    first, second = Importer(catalog, auth_process), Importer(catalog, auth_process)
    await first.open()
    stage_many(catalog_settings, "shop", size)
    assert (await first.done("apply"))["created"] == size
    await second.open()
    stage_many(catalog_settings, "shop", size, price="n + 1")
    with connected(catalog_settings) as connection:
        ids = [row[0] for row in connection.execute("SELECT id FROM catalog.products ORDER BY id")]
    applying = asyncio.create_task(second.done("apply"))
    waits = []
    while not applying.done():
        with connected(catalog_settings) as connection:
            row = connection.execute("SELECT position FROM catalog.import_runs ORDER BY created_at DESC").fetchone()
            offset = connection.execute("SELECT min(id) FROM catalog.import_rows").fetchone()
        ahead = (row[0] if row else 0) - ((offset[0] if offset else None) or 0) + random.randrange(1500)
        began = time.monotonic()
        path = f"/products/{ids[max(0, min(ahead, size - 1))]}"
        answer = await catalog.put(path, json={"stock": random.randrange(10**6)}, headers=auth_process.admin)
        assert answer.status_code == 200, answer.text
        waits.append(time.monotonic() - began)
    done = await applying
    assert done["updated"] + done["unchanged"] == size
    assert max(waits) < 1.5, f"of {len(waits)} edits the slowest took {max(waits):.2f} s"


async def test_an_unchanged_pass_writes_little(
    catalog: httpx.AsyncClient, auth_process: Auth, catalog_settings: CatalogSettings
) -> None:
    """No product, no change, and under 20 bytes a record of the write-ahead log: 2 MB for 100 000."""
    size, page = 20_000, 500
    pages = [[item(str(n), description="x" * 200) for n in range(at, at + page)] for at in range(0, size, page)]
    settings = "SELECT pg_current_wal_lsn(), (SELECT count(*) FROM catalog.run_changes)"
    rows = "SELECT external_id, xmin::text, ctid::text FROM catalog.products ORDER BY id"
    with connected(catalog_settings) as connection:
        for expected in (counts(created=size), counts(unchanged=size)):
            before = connection.execute(rows).fetchall()
            (began, changes), run = connection.execute(settings).fetchone() or (0, 0), Importer(catalog, auth_process)
            await run.open()
            for number, items in enumerate(pages):
                cursor = None if number == len(pages) - 1 else str(number + 1)
                assert (await run.stage(str(number) if number else None, cursor, items)).status_code == 200
            assert await run.done("apply", missing="remove") == expected
        assert connection.execute(rows).fetchall() == before
        (written,) = connection.execute("SELECT pg_current_wal_lsn() - %s::pg_lsn", [began]).fetchone() or (0,)
        assert (connection.execute(settings).fetchone() or (0, 0))[1] == changes
    assert written / size < 20, f"{written} bytes"


async def test_a_merge_of_an_older_sync_takes_all_pieces(
    catalog: httpx.AsyncClient, auth_process: Auth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It also goes on where a newer one stopped, and leaves what the pass lacks."""
    monkeypatch.setattr(steps, "PIECE", 10)
    await Importer(catalog, auth_process).run([item("gone"), *first_pass()])
    run = await Importer(catalog, auth_process).take(second_pass())
    monkeypatch.setattr(steps, "CALL_SECONDS", 0)
    assert not (await run.step("apply")).json()["done"]
    expected = counts(created=SIZE // 3, updated=SIZE // 3, unchanged=SIZE // 3, duplicates=20)
    assert (await run.merge()).json() == expected
    assert (await run.merge()).json() == expected
    assert await run.done("apply", missing="remove") == expected, "an applied run is done"
