"""What the client of catalog's import routes makes of answers that are not catalog's."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import httpx
import pytest

from imports.counts import Counts
from sync.catalog import CatalogClient, CatalogRejected, CatalogUnavailable, ImportSession, StaleRun
from sync.settings import SyncSettings

TOKEN = httpx.Response(200, json={"access_token": "t", "expires_in": 300})
STATE = {"cursor": None, "staged": 0, "rejected": 0, "complete": False}
Answer = Callable[[httpx.Request], httpx.Response]
SETTINGS = SyncSettings.model_validate(
    {
        "database_url": "postgresql://sync_svc:none@127.0.0.1:1/products",
        "redis_url": "redis://127.0.0.1:1",
        "sync_client_secret": "x" * 40,
    }
)


@asynccontextmanager
async def client(auth: httpx.Response, catalog: Answer) -> AsyncIterator[CatalogClient]:
    """Of a catalog that answers so."""

    def answer(request: httpx.Request) -> httpx.Response:
        return auth if request.url.path == "/auth/token" else catalog(request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:  # unchecked: the worker's own
        yield CatalogClient(SETTINGS, http, retry_seconds=0)


async def opened(auth: httpx.Response, catalog: Answer) -> None:
    """Open an import at a catalog that answers so."""
    async with client(auth, catalog) as made:
        await made.open("dummyjson", UUID(int=1), 1)


@asynccontextmanager
async def session(steps: Answer) -> AsyncIterator[ImportSession]:
    """A run at a catalog that answers its steps so."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=STATE) if request.method == "PUT" else steps(request)

    async with client(TOKEN, answer) as made:
        yield await made.open("dummyjson", UUID(int=1), 1)


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (httpx.Response(200, text="<html>"), CatalogRejected, "catalog answers with something that is not the JSON"),
        (httpx.Response(200, json={"cursor": 5}), CatalogRejected, "catalog answers with something that is not"),
        (httpx.Response(404, text="<html>"), CatalogRejected, "catalog answers 404: no detail"),
        (httpx.Response(404, json=["x"]), CatalogRejected, "catalog answers 404: no detail"),
        (httpx.Response(422, json={"detail": "y" * 999}), CatalogRejected, f"catalog answers 422: {'y' * 300}$"),
        (httpx.Response(401, json={"detail": "no"}), CatalogRejected, "catalog answers 401: no"),
        (httpx.Response(409, json={"detail": "gone on"}), StaleRun, "gone on"),
        (httpx.Response(429, text="wait"), CatalogUnavailable, "catalog answers 429, for 0 s"),
        (httpx.Response(502, text="<html>"), CatalogUnavailable, "catalog answers 502, for 0 s"),
    ],
)
async def test_an_answer_of_catalog(answer: httpx.Response, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"^{message}"):
        await opened(TOKEN, lambda _: answer)


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (httpx.Response(401, json={"detail": "wrong secret"}), CatalogRejected, "auth answers 401: wrong secret"),
        (httpx.Response(200, text="<html>"), CatalogRejected, "auth answers with something that is not the JSON"),
        (httpx.Response(503, text=""), CatalogUnavailable, "auth answers 503, for 0 s"),
    ],
)
async def test_an_answer_of_auth(answer: httpx.Response, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"^{message}"):
        await opened(answer, lambda _: httpx.Response(200, json=STATE))


async def test_a_token_that_is_no_longer_good_is_renewed_once() -> None:
    statuses = [401, 200]
    await opened(TOKEN, lambda _: httpx.Response(statuses.pop(0), json=STATE))
    assert statuses == []


@pytest.mark.parametrize("status", [404, 405])
async def test_a_catalog_of_the_release_before_merges_all_at_once(status: int) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, request.url.path.rpartition("/")[2]))
        merged = {"fetched": 1, "created": 1, "updated": 0, "unchanged": 0, "rejected": 0}
        return httpx.Response(200, json=merged) if asked[-1][1] == "merge" else httpx.Response(status)

    async with session(answer) as run:
        assert await run.compare("remove") is None
        assert await run.apply("remove") == Counts(fetched=1, created=1)
        await run.discard()
        for step in (run.plan(), run.apply(planned=True), run.plan_revert(UUID(int=2))):
            with pytest.raises(CatalogRejected):
                await step
    assert asked[:3] == [("POST", "compare"), ("POST", "apply"), ("POST", "merge")]
    assert ("POST", "merge") not in asked[3:], "a plan is never merged as something else"


async def test_a_refusal_is_not_taken_for_an_older_release() -> None:
    async with session(lambda _: httpx.Response(422, json={"detail": "no"})) as run:
        for step in (run.compare(), run.apply(), run.discard()):
            with pytest.raises(CatalogRejected, match="catalog answers 422: no") as refused:
                await step
            assert refused.value.status == 422


async def test_a_step_is_repeated_until_it_is_done() -> None:
    counts = iter(range(1, 4))
    seen: list[Counts] = []

    def answer(_: httpx.Request) -> httpx.Response:
        created = next(counts)
        later = {"done": created == 3, "counts": {"created": created, "of a later release": 1}, "also": []}
        return httpx.Response(200, json=later)

    async with session(answer) as run:
        assert await run.apply(on_progress=seen.append) == Counts(created=3)
    assert seen == [Counts(created=1), Counts(created=2), Counts(created=3)]


async def test_a_missing_plan_is_no_lost_lease() -> None:
    answers = [
        httpx.Response(409, json={"detail": "not planned", "type": "/problems#no-plan"}),
        httpx.Response(409, json={"detail": "gone on", "type": "/problems#stale-import", "fence": 7}),
    ]
    async with session(lambda _: answers.pop(0)) as run:
        with pytest.raises(CatalogRejected, match="catalog answers 409: not planned"):
            await run.apply(planned=True)
        with pytest.raises(StaleRun, match="gone on") as stale:
            await run.apply(planned=True)
    assert stale.value.fencing_token == 7


async def test_old_runs_are_pruned_until_none_is_left() -> None:
    left = [{"changes": 5, "rejects": 0, "done": False}, {"changes": 1, "rejects": 0, "done": True}]
    async with client(TOKEN, lambda _: httpx.Response(200, json=left.pop(0))) as catalog:
        await catalog.prune(datetime.now(UTC))
    assert left == []
