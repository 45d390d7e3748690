"""Products in a file: CSV, lines of JSON, or one JSON list; at an address, or in a folder that is mounted."""

import hashlib
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol

import msgspec
from msgspec import Meta

from sync.providers.base import (
    Page,
    ProviderAnswerInvalid,
    ProviderConfig,
    ProviderMisconfigured,
    ProviderPagingError,
    ProviderUnavailable,
)
from sync.providers.bodies import parse
from sync.providers.contents import contents
from sync.providers.credentials import AUTH_KINDS, CREDENTIAL_OPTIONS, Auth, NoAuth
from sync.providers.expressions import Expression, compiled
from sync.providers.lines import Broken, CSVRecords, JSONLines
from sync.providers.mapping import MappingOptions, mapper
from sync.providers.options import kinds, read
from sync.providers.pages import as_page, check_first
from sync.providers.records import Mapped, reject
from sync.providers.retries import LONGEST_PAUSE, TRIES, pause, retried

__all__ = ["File"]


class FileOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The options of `file`."""

    format: Literal["csv", "ndjson", "json"]
    mapping: MappingOptions
    delimiter: Annotated[str, Meta(min_length=1, max_length=1, pattern='^[^"\\r\\n]$')] = ","
    """Of CSV."""
    encoding: Literal["utf-8", "utf-8-sig", "latin-1"] = "utf-8"
    """Of CSV; JSON is UTF-8."""
    items: Annotated[str, Meta(max_length=500)] = "@"
    """JMESPath of the list in JSON."""
    auth: Auth = NoAuth()
    """For a file at an address."""


class Records(Protocol):
    """Takes pieces of a file and gives its records."""

    def feed(self, piece: bytes) -> Iterator[Any]: ...

    def finish(self) -> Iterator[Any]: ...


class File:
    """A file at `config.url`: an http(s) address, or `file:` and its name in `config.files_folder`; gzip or not.

    A cursor is the number of records before it. A pass that is resumed reads the file again up to there; a file that
    has changed meanwhile is refused then, for its records may be others.
    """

    name: ClassVar[str] = "file"
    Options = FileOptions

    def __init__(self, config: ProviderConfig) -> None:
        choices = {
            "format": ("csv", "json", "ndjson"),
            "encoding": ("latin-1", "utf-8", "utf-8-sig"),
            "auth.kind": kinds(*AUTH_KINDS),
        }
        self._options = read(config.options, FileOptions, choices=choices, credentials=CREDENTIAL_OPTIONS)
        self._config = config
        self.validators: dict[str, str] = {}
        """After a complete pass from the start."""
        self._items = compiled(self._options.items, "items")
        self._contents = contents(config, self._options.auth)
        self._map = mapper(self._options.mapping, self._contents.base)

    async def pages(self, cursor: str | None = None) -> AsyncGenerator[Page, None]:
        """Every product; see `ExternalAPIProvider`. A connection that breaks is opened again, and continued."""
        at = _Cursor.read(cursor)
        attempt = 1
        while True:
            try:
                async with aclosing(self._read(at)) as pages:
                    async for page, after in pages:
                        at, attempt = after, 1
                        yield page
                return
            except ProviderUnavailable as error:
                if attempt == TRIES or (error.retry_after or 0.0) > LONGEST_PAUSE:
                    raise
                await self._config.sleep(pause(self._config, attempt, error.retry_after))
                attempt += 1

    async def validate(self) -> None:
        """Read the first records; raises what `pages` would, and if none of the first five is a product."""
        check_first([mapped for _, mapped in await self.first(5)])

    async def first(self, count: int) -> list[tuple[Any, Mapped]]:
        """The first records as they came, and what becomes of them."""
        return await retried(self._config, lambda: self._first(count))

    async def _first(self, count: int) -> list[tuple[Any, Mapped]]:
        found = []
        contents = self._contents.opened(if_changed=False)
        async with contents as opened, aclosing(self._records(opened.pieces)) as records:
            async for record in records:
                raw = record.beginning if isinstance(record, Broken) else record
                found.append((raw, self._mapped(record)))
                if len(found) == count:
                    break
        return found

    async def aclose(self) -> None:
        """Close the connections; may be called more than once."""
        await self._contents.aclose()

    async def _read(self, at: "_Cursor") -> AsyncGenerator[tuple[Page, "_Cursor"], None]:
        """The pages after `at`, each with the place after it."""
        contents = self._contents.opened(if_changed=not at.records)
        async with contents as opened, aclosing(self._records(opened.pieces)) as records:
            here = _Cursor.of(opened.identity)
            if at.records and at.mark != here.mark:
                raise ProviderPagingError("The file has changed since this pass began: start it anew.")
            batch: list[Mapped] = []
            size = self._config.page_size
            async for record in records:
                # A page is held back until there is more, for the last one has no cursor.
                if len(batch) == size:
                    yield as_page(batch, here.write()), here
                    batch = []
                here = self._counted(here)
                if here.records > at.records:
                    batch.append(self._mapped(record))
            if here.records < at.records:
                raise ProviderPagingError("The file has become shorter since this pass began: start it anew.")
            # A pass that was continued has read parts of it that nobody compares.
            self.validators = opened.validators if not at.records else {}
            yield as_page(batch, None), here

    async def _records(self, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[Any, None]:
        records = self._reader()
        async with aclosing(pieces):
            async for piece in pieces:
                for record in records.feed(piece):
                    yield record
        for record in records.finish():
            yield record

    def _reader(self) -> Records:
        match self._options.format:
            case "csv":
                return CSVRecords(self._options.delimiter, self._options.encoding)
            case "ndjson":
                return JSONLines()
        return _JSONList(self._items, self._config.max_page_bytes)

    def _mapped(self, record: Any) -> Mapped:
        if isinstance(record, Broken):
            return Mapped(None, reject(record.beginning, record.reason))
        return self._map(record)

    def _counted(self, here: "_Cursor") -> "_Cursor":
        """One record further, within the limits."""
        config = self._config
        count = here.records + 1
        if count > config.max_records:
            raise ProviderPagingError(f"No end after {config.max_records} records: check the file.")
        if count > config.max_pages * config.page_size:
            raise ProviderPagingError(f"No end after {config.max_pages} pages: check the file.")
        return here._replace(records=count)


class _JSONList:
    """A list of records in one document, which is whole in memory and so has a size."""

    def __init__(self, items: Expression, limit: int) -> None:
        self._items = items
        self._limit = limit
        self._body = bytearray()

    def feed(self, piece: bytes) -> Iterator[Any]:
        self._body += piece
        if len(self._body) > self._limit:
            raise ProviderAnswerInvalid(f"The file has more than {self._limit} bytes of JSON: make it `ndjson`.")
        return iter(())

    def finish(self) -> Iterator[Any]:
        found = self._items(parse(bytes(self._body), "The file"))
        if not isinstance(found, list):
            raise ProviderAnswerInvalid("options.items finds no list in the file: check the file and `items`.")
        return iter(found)


class _Cursor(NamedTuple):
    """The records before a place, and a mark of the file that they are of."""

    records: int = 0
    mark: str = ""

    @classmethod
    def of(cls, identity: str) -> "_Cursor":
        return cls(0, hashlib.sha256(identity.encode()).hexdigest()[:16])

    @classmethod
    def read(cls, cursor: str | None) -> "_Cursor":
        if cursor is None:
            return cls()
        if not re.fullmatch(r"[0-9]{1,18}:[0-9a-f]{16}", cursor, re.ASCII):
            raise ProviderMisconfigured("This cursor is not one of this provider: start the pass anew.")
        records, mark = cursor.split(":")
        return cls(int(records), mark)

    def write(self) -> str:
        return f"{self.records}:{self.mark}"
