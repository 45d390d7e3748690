"""DummyJSON (https://dummyjson.com/docs/products), and any server that pages by `limit` and `skip` alike."""

import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar, NamedTuple

from sync.providers.base import (
    ExternalProduct,
    Page,
    ProviderAnswerInvalid,
    ProviderConfig,
    ProviderMisconfigured,
    ProviderPagingError,
    Reject,
)
from sync.providers.http import JsonClient
from sync.providers.records import (
    InvalidRecord,
    parse_attributes,
    parse_id,
    parse_optional_text,
    parse_price,
    parse_stock,
    parse_text,
    parse_url,
    reject,
)

__all__ = ["DummyJSON"]

# `reviews` are left out, since they name people.
ATTRIBUTES = (
    "rating",
    "tags",
    "discountPercentage",
    "weight",
    "dimensions",
    "warrantyInformation",
    "shippingInformation",
    "availabilityStatus",
    "returnPolicy",
    "minimumOrderQuantity",
    "images",
)


class DummyJSON:
    """Products from a DummyJSON server; `config.url` is like https://dummyjson.com/products.

    A pass ends on an empty page, or on one that is short of what was asked for, once the total that the same
    answer states is reached. So a total that grows is followed, one that shrinks ends the pass early, and one
    that is too low (some servers state the length of the page) is ignored after a full page.
    """

    name: ClassVar[str] = "dummyjson"

    def __init__(self, config: ProviderConfig) -> None:
        self._config = config
        self._client = JsonClient(config)

    async def pages(self, cursor: str | None = None) -> AsyncIterator[Page]:
        """Every product, `page_size` at a time; see `ExternalAPIProvider`."""
        at = _Cursor.read(cursor)
        seen = {at.mark}
        while True:
            answer = await self._ask(skip=at.skip, limit=self._config.page_size)
            after = at.after(answer)
            if answer.records and after.mark in seen:
                if at.skip < at.total:
                    raise ProviderPagingError(f"The page at skip={at.skip} came before: `skip` is ignored.")
                # All stated products are read, and the source repeats itself.
                yield Page(items=())
                return
            last = self._is_last(answer, after)
            for page in self._split(at, answer, None if last else after.write()):
                yield page
            if last:
                return
            seen.add(after.mark)
            at = after

    async def validate(self) -> None:
        """Read five products; raises what `pages` would, and if none of the five is a product."""
        answer = await self._ask(skip=0, limit=min(5, self._config.page_size))
        items, rejects = _parse_records(answer.records)
        if rejects and not items:
            raise ProviderAnswerInvalid(f"None of the first {len(rejects)} records is a product ({rejects[0].reason}).")

    async def aclose(self) -> None:
        """Close the connections; may be called more than once."""
        await self._client.aclose()

    async def _ask(self, *, skip: int, limit: int) -> "_Page":
        return _Page.read(await self._client.get({"limit": limit, "skip": skip}))

    def _split(self, at: "_Cursor", answer: "_Page", cursor: str | None) -> Iterator[Page]:
        """The answer as pages of our size: a source may ignore `limit` and send everything at once."""
        size = self._config.page_size
        for end in range(size, max(len(answer.records), 1) + size, size):
            items, rejects = _parse_records(answer.records[end - size : end])
            within = at._replace(skip=at.skip + end, total=answer.total).write()
            yield Page(items=items, rejects=rejects, next_cursor=within if end < len(answer.records) else cursor)

    def _is_last(self, answer: "_Page", after: "_Cursor") -> bool:
        if not answer.records and after.skip < answer.total:
            raise ProviderPagingError(f"The source states {answer.total} products and stops after {after.skip}.")
        # To end here without an error would look like a complete pass, which is merged.
        if answer.records and after.pages > self._config.max_pages:
            raise ProviderPagingError(f"No end after {self._config.max_pages} pages: check the provider's paging.")
        if after.skip > self._config.max_records:
            raise ProviderPagingError(f"No end after {self._config.max_records} records: check the provider's paging.")
        full = len(answer.records) == self._config.page_size
        return not full and after.skip >= answer.total


class _Page(NamedTuple):
    records: list[Any]
    total: int

    @classmethod
    def read(cls, answer: object) -> "_Page":
        match answer:
            case {"products": list(records), "total": int(total)} if total >= 0 and not isinstance(total, bool):
                return cls(records, total)
            case _:
                raise ProviderAnswerInvalid(
                    'The answer is not {"products": [...], "total": n}: check the address and the provider.'
                )


class _Cursor(NamedTuple):
    """Where a pass is, with what the checks for loops and limits need, so that they also work after a resume."""

    skip: int = 0
    pages: int = 0
    total: int = 0
    mark: str = ""

    @classmethod
    def read(cls, cursor: str | None) -> "_Cursor":
        if cursor is None:
            return cls()
        if not re.fullmatch(r"[0-9]{1,18}(:[0-9]{1,18}){2}:([0-9a-f]{16})?", cursor, re.ASCII):
            raise ProviderMisconfigured("This cursor is not one of this provider: start the pass anew.")
        skip, pages, total, mark = cursor.split(":")
        return cls(int(skip), int(pages), int(total), mark)

    def write(self) -> str:
        return ":".join(map(str, self))

    def after(self, answer: _Page) -> "_Cursor":
        mark = hashlib.sha256()
        for record in answer.records:
            note = reject(record, "")
            # Records without an id differ by what they hold.
            mark.update((note.external_id or note.payload).encode() + b"\n")
        skip = self.skip + len(answer.records)
        return _Cursor(skip, self.pages + 1, answer.total, mark.hexdigest()[:16])


def _parse_records(records: list[Any]) -> tuple[tuple[ExternalProduct, ...], tuple[Reject, ...]]:
    items, rejects = [], []
    for record in records:
        try:
            items.append(_product(record))
        except InvalidRecord as error:
            rejects.append(reject(record, str(error)))
    return tuple(items), tuple(rejects)


def _product(record: object) -> ExternalProduct:
    if not isinstance(record, dict):
        raise InvalidRecord("record", "must be an object")
    return ExternalProduct(
        external_id=parse_id(record.get("id")),
        name=parse_text(record.get("title"), "name"),
        description=parse_optional_text(record.get("description"), "description") or "",
        price=parse_price(record.get("price")),
        category=parse_text(record.get("category"), "category"),
        brand=parse_optional_text(record.get("brand"), "brand"),
        sku=parse_optional_text(record.get("sku"), "sku"),
        stock=parse_stock(record.get("stock")),
        image_url=parse_url(record.get("thumbnail")),
        attributes=parse_attributes(_attributes(record)),
    )


def _attributes(record: dict[str, Any]) -> dict[str, Any]:
    found = {name: record[name] for name in ATTRIBUTES if record.get(name) is not None}
    meta = record.get("meta")
    if isinstance(meta, dict) and meta.get("barcode") is not None:
        found["barcode"] = meta["barcode"]
    return found
