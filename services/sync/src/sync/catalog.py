"""The only client of catalog's import routes: staged pages, then one merge."""

import asyncio
import logging
import random
import time
from typing import Any
from uuid import UUID

import httpx
import msgspec

from common.json_encoding import dumps
from sync.providers import Page
from sync.runs import Counts
from sync.settings import SyncSettings

__all__ = ["Catalog", "CatalogAway", "CatalogRefused", "Import", "StaleRun"]

log = logging.getLogger(__name__)

MAX_ITEMS = 500
# A page that has to be staged in parts leaves cursors of our own between the source's.
_PART = "\x1f"


class StaleRun(Exception):
    """Another worker has gone on with the run: stop and touch nothing."""


class CatalogRefused(Exception):
    """Catalog or auth understood and said no; trying again does not help."""


class CatalogAway(Exception):
    """Catalog or auth did not serve for as long as we were ready to wait."""


class Import:
    """A run as catalog sees it: what is staged and where to go on."""

    def __init__(self, catalog: "Catalog", path: str, fence: int, state: dict[str, Any]) -> None:
        self._catalog = catalog
        self._path = path
        self._fence = fence
        self._staged_to: str | None = state["cursor"]
        self.staged: int = state["staged"]
        self.rejected: int = state["rejected"]
        self.complete: bool = state["complete"]

    @property
    def cursor(self) -> str | None:
        """The source's cursor of the next page; None at the start, and when the pass is complete."""
        return (self._staged_to or "").partition(_PART)[0] or None

    async def stage(self, page: Page) -> None:
        """Keep a page in catalog, in parts if it is too big for one request."""
        size = max(len(page.items), len(page.rejects))
        for first in range(0, max(size, 1), MAX_ITEMS):
            last = first + MAX_ITEMS >= size
            await self._stage(
                page.items[first : first + MAX_ITEMS],
                page.rejects[first : first + MAX_ITEMS],
                page.next_cursor if last else self._next_part(),
            )
        self.complete = page.next_cursor is None

    def _next_part(self) -> str:
        cursor, _, part = (self._staged_to or "").partition(_PART)
        return f"{cursor}{_PART}{int(part or 0) + 1}"

    async def _stage(self, items: Any, rejects: Any, cursor: str | None) -> None:
        body = {"fence": self._fence, "after": self._staged_to, "cursor": cursor, "items": items, "rejects": rejects}
        answer = await self._catalog.call("POST", f"{self._path}/pages", body)
        self._staged_to, self.staged, self.rejected = cursor, answer["staged"], answer["rejected"]

    async def merge(self) -> Counts:
        """Make the staged records products, in one switch."""
        return Counts(**await self._catalog.call("POST", f"{self._path}/merge", {"fence": self._fence}))


class Catalog:
    """A connection to catalog that waits up to `patience` seconds for catalog and auth to serve."""

    def __init__(self, settings: SyncSettings, http: httpx.AsyncClient, *, patience: float = 60.0) -> None:
        self._settings = settings
        self._http = http
        self._patience = patience
        self._token = ""
        self._expires = 0.0

    async def open(self, source: str, run_id: UUID, fence: int) -> Import:
        """Begin the import of a run, or take it up where it was left."""
        path = f"/internal/imports/{source}/runs/{run_id}"
        return Import(self, path, fence, await self.call("PUT", path, {"fence": fence}))

    async def call(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One request, repeated while catalog or auth are away: every route of an import may be repeated."""
        content, give_up, pause = dumps(body), time.monotonic() + self._patience, 0.2
        while True:
            try:
                return await self._try(method, path, content)
            except CatalogAway as error:
                if time.monotonic() + pause > give_up:
                    raise CatalogAway(f"{error}, for {self._patience:g} s") from None
                log.warning("%s; trying again", error)
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
                pause = min(pause * 2, 5)

    async def _try(self, method: str, path: str, content: bytes) -> dict[str, Any]:
        for renewed in (False, True):
            token = await self._access_token(renew=renewed)
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            url = f"{self._settings.catalog_url}{path}"
            # A merge of 100 000 products may take most of a minute; a page never does.
            wait = httpx.Timeout(65.0 if path.endswith("/merge") else 15.0, connect=2.0)
            request = self._http.build_request(method, url, content=content, headers=headers, timeout=wait)
            answer = await self._send("catalog", request)
            if answer.status_code != 401 or renewed:
                break
        if answer.status_code == 409:
            raise StaleRun(_detail(answer))
        return _body("catalog", answer)

    async def _access_token(self, *, renew: bool) -> str:
        if renew or time.monotonic() > self._expires:
            form = {
                "grant_type": "client_credentials",
                "client_id": "sync",
                "client_secret": self._settings.sync_client_secret.get_secret_value(),
            }
            url = f"{self._settings.auth_url}/auth/token"
            token = _body("auth", await self._send("auth", self._http.build_request("POST", url, data=form)))
            self._token, self._expires = token["access_token"], time.monotonic() + token["expires_in"] * 0.8
        return self._token

    async def _send(self, service: str, request: httpx.Request) -> httpx.Response:
        try:
            answer = await self._http.send(request)
        except httpx.TransportError as error:
            raise CatalogAway(f"{service} does not answer ({type(error).__name__})") from None
        if answer.status_code >= 500 or answer.status_code == 429:
            raise CatalogAway(f"{service} answers {answer.status_code}")
        return answer


def _body(service: str, answer: httpx.Response) -> dict[str, Any]:
    if answer.status_code != 200:
        raise CatalogRefused(f"{service} answers {answer.status_code}: {_detail(answer)}")
    try:
        return msgspec.json.decode(answer.content, type=dict[str, Any])
    except msgspec.DecodeError:
        raise CatalogRefused(f"{service} answers with something that is not JSON") from None


def _detail(answer: httpx.Response) -> str:
    try:
        return str(msgspec.json.decode(answer.content)["detail"])[:300]
    except (msgspec.DecodeError, KeyError, TypeError):
        return "no detail"
