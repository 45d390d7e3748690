"""The only client of catalog's import routes: pages are staged, then merged at once."""

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

import httpx
import msgspec

from common.json_encoding import dumps
from imports.counts import Counts
from imports.messages import (
    MAX_ITEMS,
    MAX_PAYLOAD,
    MAX_REASON,
    RUN_PATH,
    Fence,
    ImportPage,
    ImportState,
    Reject,
    Staged,
)
from imports.product import ExternalProduct, checked
from sync.providers import Page
from sync.providers.records import reject
from sync.settings import SyncSettings

__all__ = ["CatalogClient", "CatalogRejected", "CatalogUnavailable", "ImportSession", "StaleRun"]

log = logging.getLogger(__name__)

# A page that is staged in chunks has cursors with this separator and a number between those of the source.
_CHUNK = "\x1f"
T = TypeVar("T")


class StaleRun(Exception):
    """Another worker has continued the run: this one must stop.

    `fencing_token` is catalog's, where that is higher than ours: we lost the race, or our schema its newest fences.
    """

    def __init__(self, detail: str, fencing_token: int | None = None) -> None:
        super().__init__(detail)
        self.fencing_token = fencing_token


class CatalogRejected(Exception):
    """Catalog or auth refused a request; to try again does not help."""


class CatalogUnavailable(Exception):
    """Catalog or auth did not serve within the time for retries."""


class ImportSession:
    """A run as catalog sees it: what is staged and where to go on."""

    def __init__(self, catalog: "CatalogClient", path: str, fencing_token: int, state: ImportState) -> None:
        self._catalog = catalog
        self._path = path
        self._fencing_token = fencing_token
        self._staged_to = state.cursor
        self.staged = state.staged
        self.rejected = state.rejected
        self.complete = state.complete

    @property
    def cursor(self) -> str | None:
        """The source's cursor of the next page; None at the start, and when the pass is complete."""
        return (self._staged_to or "").partition(_CHUNK)[0] or None

    async def stage(self, page: Page) -> None:
        """Keep a page in catalog, in chunks if it is too large for one request.

        A product that breaks a rule of `imports.product` is staged as a reject; refused by catalog it ends the run.
        """
        items, invalid = _check_items(page.items)
        rejects = [*map(_shorten, page.rejects), *invalid]
        size = max(len(items), len(rejects))
        for first in range(0, max(size, 1), MAX_ITEMS):
            last = first + MAX_ITEMS >= size
            await self._stage(
                items[first : first + MAX_ITEMS],
                rejects[first : first + MAX_ITEMS],
                page.next_cursor if last else self._next_chunk(),
            )
        self.complete = page.next_cursor is None

    def _next_chunk(self) -> str:
        cursor, _, chunk = (self._staged_to or "").partition(_CHUNK)
        return f"{cursor}{_CHUNK}{int(chunk or 0) + 1}"

    async def _stage(self, items: list[ExternalProduct], rejects: list[Reject], cursor: str | None) -> None:
        page = ImportPage(
            fencing_token=self._fencing_token, after=self._staged_to, cursor=cursor, items=items, rejects=rejects
        )
        answer = await self._catalog.call("POST", f"{self._path}/pages", page, Staged)
        self._staged_to, self.staged, self.rejected = cursor, answer.staged, answer.rejected

    async def merge(self) -> Counts:
        """Make the staged records products, all at once."""
        return await self._catalog.call("POST", f"{self._path}/merge", Fence(fencing_token=self._fencing_token), Counts)


def _check_items(items: Sequence[ExternalProduct]) -> tuple[list[ExternalProduct], list[Reject]]:
    """The items that keep the contract, and the others as rejects."""
    good, rejects = [], []
    for item in items:
        try:
            good.append(checked(item))
        except ValueError as error:
            rejects.append(reject(msgspec.structs.asdict(item), str(error), id_field="external_id"))
    return good, rejects


def _shorten(it: Reject) -> Reject:
    """The reject within the limits of its message."""
    return msgspec.structs.replace(it, reason=it.reason[:MAX_REASON], payload=it.payload[:MAX_PAYLOAD])


class CatalogClient:
    """Calls catalog, and tries again for up to `retry_seconds` while catalog or auth do not serve."""

    def __init__(self, settings: SyncSettings, http: httpx.AsyncClient, *, retry_seconds: float = 60.0) -> None:
        self._settings = settings
        self._http = http
        self._retry_seconds = retry_seconds
        self._token = ""
        self._expires = 0.0

    async def open(self, source: str, run_id: UUID, fencing_token: int) -> ImportSession:
        """Begin the import of a run, or resume it."""
        path = RUN_PATH.format(source=source, run_id=run_id)
        state = await self.call("PUT", path, Fence(fencing_token=fencing_token), ImportState)
        return ImportSession(self, path, fencing_token, state)

    async def call(self, method: str, path: str, body: Fence, answer: type[T]) -> T:
        """One request, repeated while catalog or auth are unavailable: every import route may be called twice."""
        content, give_up, pause = dumps(body), time.monotonic() + self._retry_seconds, 0.2
        while True:
            try:
                return _decode("catalog", await self._try(method, path, content), answer)
            except CatalogUnavailable as error:
                if time.monotonic() + pause > give_up:
                    raise CatalogUnavailable(f"{error}, for {self._retry_seconds:g} s") from None
                log.warning("%s; trying again", error)
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
                pause = min(pause * 2, 5)

    async def _try(self, method: str, path: str, content: bytes) -> httpx.Response:
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
            raise StaleRun(_detail(answer), _fencing_token(answer))
        return answer

    async def _access_token(self, *, renew: bool) -> str:
        if renew or time.monotonic() > self._expires:
            form = {
                "grant_type": "client_credentials",
                "client_id": "sync",
                "client_secret": self._settings.sync_client_secret.get_secret_value(),
            }
            request = self._http.build_request("POST", f"{self._settings.auth_url}/auth/token", data=form)
            token = _decode("auth", await self._send("auth", request), dict[str, Any])
            self._token, self._expires = token["access_token"], time.monotonic() + token["expires_in"] * 0.8
        return self._token

    async def _send(self, service: str, request: httpx.Request) -> httpx.Response:
        try:
            answer = await self._http.send(request)
        except httpx.TransportError as error:
            raise CatalogUnavailable(f"{service} does not answer ({type(error).__name__})") from None
        if answer.status_code >= 500 or answer.status_code == 429:
            raise CatalogUnavailable(f"{service} answers {answer.status_code}")
        return answer


def _decode(service: str, answer: httpx.Response, kind: type[T]) -> T:
    if answer.status_code != 200:
        raise CatalogRejected(f"{service} answers {answer.status_code}: {_detail(answer)}")
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except msgspec.DecodeError:
        raise CatalogRejected(f"{service} answers with something that is not the JSON of its contract") from None


def _fencing_token(answer: httpx.Response) -> int | None:
    try:
        return msgspec.json.decode(answer.content, type=Fence).fencing_token
    except msgspec.DecodeError:
        return None


def _detail(answer: httpx.Response) -> str:
    try:
        return str(msgspec.json.decode(answer.content)["detail"])[:300]
    except (msgspec.DecodeError, KeyError, TypeError):
        return "no detail"
