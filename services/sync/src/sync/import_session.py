"""A run as catalog sees it: its pages are staged there, compared, planned and applied."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar
from uuid import UUID

import msgspec

from imports.counts import Counts
from imports.messages import (
    MAX_ITEMS,
    MAX_PAYLOAD,
    MAX_REASON,
    Apply,
    Comparison,
    Fence,
    ImportPage,
    ImportState,
    Missing,
    MissingPolicy,
    Progress,
    Reject,
    Revert,
    Staged,
)
from imports.product import ExternalProduct, checked
from sync.providers import Page
from sync.providers.records import reject

__all__ = ["CatalogRejected", "ImportSession"]

# A page that is staged in chunks has cursors with this separator and a number between those of the source.
_CHUNK = "\x1f"
# What a catalog of the release before answers on a path, or a method, that it does not have.
_UNKNOWN = (404, 405)
T = TypeVar("T")
OnProgress = Callable[[Counts], None]


class CatalogRejected(Exception):
    """Catalog or auth refused a request; to try again does not help."""

    def __init__(self, detail: str, status: int = 0) -> None:
        super().__init__(detail)
        self.status = status


class _Calls(Protocol):
    async def call(self, method: str, path: str, body: msgspec.Struct | None, answer: type[T]) -> T: ...


def _nothing(_: Counts) -> None:
    """Nobody wants to know the progress."""


class ImportSession:
    """What is staged of a run, where to go on, and what to do with it. Each step may be repeated.

    Planning, applying and reverting take many requests; `on_progress` is called with the counts after each.
    """

    def __init__(self, catalog: _Calls, path: str, fencing_token: int, state: ImportState) -> None:
        self._catalog = catalog
        self._path = path
        self._fencing_token = fencing_token
        self._staged_to = state.cursor
        self.staged = state.staged
        self.rejected = state.rejected
        self.complete = state.complete
        self.applying = state.applying

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

    async def compare(self, missing: MissingPolicy = "keep") -> Comparison | None:
        """What applying the complete pass would do; None if catalog is too old to tell."""
        body = Missing(fencing_token=self._fencing_token, missing=missing)
        return await self._unless_unknown("POST", "/compare", body, Comparison)

    async def plan(self, missing: MissingPolicy = "keep", on_progress: OnProgress = _nothing) -> Counts:
        """Keep what applying the complete pass would change, for an admin to see; changes no product."""
        return await self._repeat("/plan", Missing(fencing_token=self._fencing_token, missing=missing), on_progress)

    async def apply(
        self, missing: MissingPolicy = "keep", *, planned: bool = False, on_progress: OnProgress = _nothing
    ) -> Counts:
        """Make the staged records products, or apply exactly what was planned.

        A catalog that is too old for it merges all at once, and keeps what the pass lacks.
        """
        body = Apply(fencing_token=self._fencing_token, missing=missing, planned=planned)
        try:
            return await self._repeat("/apply", body, on_progress)
        except CatalogRejected as error:
            if planned or error.status not in _UNKNOWN:
                raise
        return await self.merge()

    async def merge(self) -> Counts:
        """What `apply` was in the release before: all in one request, for as long as catalog lets one take."""
        return await self._catalog.call("POST", f"{self._path}/merge", self._fence(), Counts)

    async def plan_revert(self, of: UUID, on_progress: OnProgress = _nothing) -> Counts:
        """Make what undoes the run `of` the plan of this one."""
        return await self._repeat("/revert", Revert(fencing_token=self._fencing_token, of=of), on_progress)

    async def discard(self) -> None:
        """Delete what is staged of a run that is cancelled or has failed; its rejects are kept."""
        await self._unless_unknown("DELETE", "", self._fence(), Staged)

    async def _repeat(self, step: str, body: Fence, on_progress: OnProgress) -> Counts:
        while True:
            progress = await self._catalog.call("POST", f"{self._path}{step}", body, Progress)
            on_progress(progress.counts)
            if progress.done:
                return progress.counts

    async def _unless_unknown(self, method: str, step: str, body: Fence, answer: type[T]) -> T | None:
        try:
            return await self._catalog.call(method, f"{self._path}{step}", body, answer)
        except CatalogRejected as error:
            if error.status not in _UNKNOWN:
                raise
            return None

    def _fence(self) -> Fence:
        return Fence(fencing_token=self._fencing_token)


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
