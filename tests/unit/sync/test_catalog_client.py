"""What the client of catalog's import routes makes of answers that are not catalog's."""

from collections.abc import Callable
from uuid import UUID

import httpx
import pytest

from sync.catalog import CatalogClient, CatalogRejected, CatalogUnavailable, StaleRun
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


async def opened(auth: httpx.Response, catalog: Answer) -> None:
    """Open an import at a catalog that answers so."""

    def answer(request: httpx.Request) -> httpx.Response:
        return auth if request.url.path == "/auth/token" else catalog(request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:  # unchecked: the worker's own
        await CatalogClient(SETTINGS, http, retry_seconds=0).open("dummyjson", UUID(int=1), 1)


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
