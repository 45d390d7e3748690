"""The only client of catalog's import routes."""

import asyncio
import logging
import random
import time
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

import httpx
import msgspec

from common.json_encoding import dumps
from imports.messages import (
    PRUNE_PATH,
    RUN_PATH,
    Changes,
    Conflicts,
    Fence,
    ImportState,
    Prune,
    Pruned,
    Rejects,
)
from sync.import_session import CatalogRejected, ImportSession
from sync.settings import SyncSettings

__all__ = ["CatalogClient", "CatalogRejected", "CatalogUnavailable", "ImportSession", "StaleRun"]

log = logging.getLogger(__name__)

# Catalog's own limit is 60 s, for what compares or merges a whole source; the reading of a page of changes may wait,
# and a page that is staged never takes long.
PATIENT, QUICK = 65.0, 15.0
T = TypeVar("T")


class StaleRun(Exception):
    """Another worker has continued the run: this one must stop.

    `fencing_token` is catalog's, where that is higher than ours: we lost the race, or our schema its newest fences.
    """

    def __init__(self, detail: str, fencing_token: int | None = None) -> None:
        super().__init__(detail)
        self.fencing_token = fencing_token


class CatalogUnavailable(Exception):
    """Catalog or auth did not serve within the time for retries."""


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

    async def changes(
        self,
        source: str,
        run_id: UUID,
        *,
        kind: str | None = None,
        field: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Changes:
        """A page of what a run has planned or changed, also of one that has ended; perhaps one kind or field alone."""
        query = {"kind": kind, "field": field, "after": after, "limit": limit}
        return await self._read(source, run_id, "changes", query, Changes)

    async def conflicts(self, source: str, run_id: UUID, *, limit: int = 100) -> Conflicts:
        """The products that have changed after a run's plan was made."""
        return await self._read(source, run_id, "conflicts", {"limit": limit}, Conflicts)

    async def rejects(self, source: str, run_id: UUID, *, after: int = 0, limit: int = 100) -> Rejects:
        """A page of the records that were no products."""
        return await self._read(source, run_id, "rejects", {"after": after, "limit": limit}, Rejects)

    async def prune(self, before: datetime) -> None:
        """Delete the changes and rejects of runs from before, except of the current run of each source."""
        while not (await self.call("POST", PRUNE_PATH, Prune(before=before), Pruned)).done:
            pass

    async def _read(self, source: str, run_id: UUID, what: str, query: dict[str, Any], answer: type[T]) -> T:
        given = urlencode({name: value for name, value in query.items() if value is not None})
        return await self.call("GET", f"{RUN_PATH.format(source=source, run_id=run_id)}/{what}?{given}", None, answer)

    async def call(self, method: str, path: str, body: msgspec.Struct | None, answer: type[T]) -> T:
        """One request, repeated while catalog or auth are unavailable: every import route may be called twice."""
        content, give_up, pause = b"" if body is None else dumps(body), time.monotonic() + self._retry_seconds, 0.2
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
            wait = httpx.Timeout(QUICK if path.endswith("/pages") else PATIENT, connect=2.0)
            request = self._http.build_request(method, url, content=content, headers=headers, timeout=wait)
            answer = await self._send("catalog", request)
            if answer.status_code != 401 or renewed:
                break
        if answer.status_code == 409 and not _member(answer, "type").endswith("#no-plan"):
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
        raise CatalogRejected(f"{service} answers {answer.status_code}: {_detail(answer)}", answer.status_code)
    try:
        return msgspec.json.Decoder(kind, float_hook=Decimal).decode(answer.content)
    except msgspec.DecodeError:
        raise CatalogRejected(f"{service} answers with something that is not the JSON of its contract") from None


def _fencing_token(answer: httpx.Response) -> int | None:
    try:
        return msgspec.json.decode(answer.content, type=Fence).fencing_token
    except msgspec.DecodeError:
        return None


def _detail(answer: httpx.Response) -> str:
    return _member(answer, "detail")[:300] or "no detail"


def _member(answer: httpx.Response, name: str) -> str:
    """Of a problem document; empty if the answer is none, or lacks it."""
    try:
        return str(msgspec.json.decode(answer.content)[name])
    except (msgspec.DecodeError, KeyError, TypeError):
        return ""
