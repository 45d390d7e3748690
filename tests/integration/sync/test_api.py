"""The sync API as admins meet it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
import redis

from imports.counts import Counts
from sync.app import build
from sync.queue import SafeJob, open_queue
from sync.settings import SyncSettings
from tests.fixtures.catalog import Auth
from tests.fixtures.service import serving
from tests.fixtures.waiting import eventually
from tests.integration.sync.conftest import Make

Rows = psycopg.Connection[Any]
DEAD = "redis://127.0.0.1:1"


@pytest.fixture
def settings(settings_of: Make, auth_process: Auth) -> SyncSettings:
    return settings_of(auth_url=auth_process.url, external_api_url="https://user:pass@api.example/products?key=k")


@pytest.fixture
async def api(settings: SyncSettings) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(build(settings)) as client:
        yield client


@pytest.fixture
async def without_redis(settings_of: Make, auth_process: Auth) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(build(settings_of(auth_url=auth_process.url, redis_url=DEAD))) as client:
        yield client


class TestTrigger:
    async def test_admin_gets_a_run_and_its_message_is_sent(
        self, api: httpx.AsyncClient, auth_process: Auth, valkey: "redis.Redis"
    ) -> None:
        answer = await api.post("/sync/trigger", headers=auth_process.admin)
        assert answer.status_code == 202
        body = answer.json()
        assert body == {"run_id": body["run_id"], "status_url": f"/sync/runs/{body['run_id']}"}
        assert answer.headers["location"] == body["status_url"]
        run = (await api.get(body["status_url"], headers=auth_process.admin)).json()
        assert run == {
            "id": body["run_id"],
            "source": "dummyjson",
            "state": "queued",
            "trigger": "manual",
            "mode": "apply",
            "kind": "sync",
            "reverts": None,
            "created_at": run["created_at"],
            "started_at": None,
            "finished_at": None,
            "duration_seconds": None,
            "counts": dict.fromkeys(Counts.__struct_fields__, 0),
            "pages": 0,
            "attempt": 0,
            "rate": None,
            "trace_id": None,
            "error": None,
            "held_for": None,
            "retry_at": None,
        }
        # It is sent once the answer has left.
        await eventually(lambda: open_queue(valkey).count)
        (job_id,) = open_queue(valkey).job_ids
        assert job_id == f"run-{body['run_id'].replace('-', '')}-0"
        job = SafeJob.fetch(job_id, connection=valkey)
        assert json.loads(job.data) == ["sync.jobs.run", None, [body["run_id"].replace("-", "")], {}]

    async def test_fifty_at_once_get_one_run(
        self, api: httpx.AsyncClient, auth_process: Auth, rows: Rows, valkey: "redis.Redis"
    ) -> None:
        answers = await asyncio.gather(*(api.post("/sync/trigger", headers=auth_process.admin) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["run_id"] for answer in answers}) == 1
        assert rows.execute("SELECT count(*) FROM sync.runs").fetchone() == (1,)
        await eventually(lambda: open_queue(valkey).count)
        status = (await api.get("/sync/status", headers=auth_process.admin)).json()
        assert status["queue"] == {"queued": 1, "started": 0, "failed": 0}

    async def test_an_active_run_answers_for_the_new_one(
        self, api: httpx.AsyncClient, auth_process: Auth, rows: Rows
    ) -> None:
        first = (await api.post("/sync/trigger", headers=auth_process.admin)).json()
        rows.execute("UPDATE sync.runs SET state = 'running', started_at = now()")
        second = await api.post("/sync/trigger", headers=auth_process.admin)
        assert (second.status_code, second.json()) == (202, first)

    async def test_redis_is_not_needed(self, without_redis: httpx.AsyncClient, auth_process: Auth, rows: Rows) -> None:
        answer = await without_redis.post("/sync/trigger", headers=auth_process.admin)
        assert answer.status_code == 202
        assert rows.execute("SELECT state FROM sync.runs").fetchone() == ("queued",)

    @pytest.mark.parametrize("route", ["POST /sync/trigger", "GET /sync/status", f"GET /sync/runs/{UUID(int=1)}"])
    async def test_admins_only(self, api: httpx.AsyncClient, auth_process: Auth, rows: Rows, route: str) -> None:
        for headers, status in (({}, 401), (auth_process.user, 403), (auth_process.sync, 403)):
            answer = await api.request(*route.split(), headers=headers)
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json"
        assert rows.execute("SELECT count(*) FROM sync.runs").fetchone() == (0,)


class TestRuns:
    async def test_unknown_run(self, api: httpx.AsyncClient, auth_process: Auth) -> None:
        answer = await api.get(f"/sync/runs/{uuid4()}", headers=auth_process.admin)
        assert answer.status_code == 404
        assert answer.json()["type"].endswith("run-not-found")
        assert (await api.get("/sync/runs/7", headers=auth_process.admin)).status_code == 422

    async def test_duration_is_from_start_to_end(self, api: httpx.AsyncClient, auth_process: Auth, rows: Rows) -> None:
        path = (await api.post("/sync/trigger", headers=auth_process.admin)).json()["status_url"]
        start = datetime(2026, 1, 1, tzinfo=UTC)
        query = "UPDATE sync.runs SET state = 'succeeded', started_at = %s, finished_at = %s"
        rows.execute(query, [start, start + timedelta(seconds=2.5)])
        assert (await api.get(path, headers=auth_process.admin)).json()["duration_seconds"] == 2.5


class TestStatus:
    async def test_before_anything_has_run(self, api: httpx.AsyncClient, auth_process: Auth) -> None:
        status = (await api.get("/sync/status", headers=auth_process.admin)).json()
        assert status == {
            "sources": [
                {
                    "source": "dummyjson",
                    "provider": "dummyjson",
                    "url": "https://api.example/products",
                    "managed_by": "environment",
                    "enabled": True,
                    "last_run": None,
                    "active_run": None,
                    "last_success_at": None,
                    "retry_at": None,
                    "next_tick_at": None,
                    "interval_minutes": 30,
                    "cron": None,
                    "waits_for": None,
                }
            ],
            "queue": {"queued": 0, "started": 0, "failed": 0},
            "workers": [],
            "scheduler": {"alive": False, "last_heartbeat": None},
            "redis": "ok",
        }

    async def test_last_and_active_run(self, api: httpx.AsyncClient, auth_process: Auth, rows: Rows) -> None:
        ids = []
        for state in ("succeeded", "failed", "queued"):
            ids.append((await api.post("/sync/trigger", headers=auth_process.admin)).json()["run_id"])
            rows.execute("UPDATE sync.runs SET state = %s, finished_at = now() WHERE state = 'queued'", [state])
        status = (await api.get("/sync/status", headers=auth_process.admin)).json()
        (source,) = status["sources"]
        assert (source["last_run"]["id"], source["active_run"]["id"]) == (ids[1], ids[2])
        assert source["last_success_at"] is not None

    async def test_without_redis(self, without_redis: httpx.AsyncClient, auth_process: Auth) -> None:
        answer = await without_redis.get("/sync/status", headers=auth_process.admin)
        assert answer.status_code == 200
        status = answer.json()
        assert (status["redis"], status["queue"], status["workers"]) == ("unavailable", None, [])
        assert len(status["sources"]) == 1

    async def test_health_is_degraded_without_redis(self, without_redis: httpx.AsyncClient) -> None:
        deadline = time.monotonic() + 60
        # On a busy machine a check may take its second, once.
        while (answer := await without_redis.get("/health")).status_code != 200:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
        assert answer.json()["status"] == "degraded"
