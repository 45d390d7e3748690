"""The page of a list that a client asks for: by `skip` for people and short lists, by `cursor` for all others."""

import base64
import binascii
import re
from dataclasses import dataclass, replace

from catalog.errors import InvalidCursor

__all__ = ["DEFAULT_LIMIT", "MAX_LIMIT", "MAX_SKIP", "Paging"]

DEFAULT_LIMIT, MAX_LIMIT, MAX_SKIP = 100, 500, 1_000_000
_CURSOR = re.compile(rb"id:(\d{1,18})").fullmatch


@dataclass(frozen=True, slots=True)
class Paging:
    """`limit` products with ids above `after`, the first `skip` of them left out.

    `offset` is how many are left out by PostgreSQL: all of them, unless `after` is known to stand for them.
    """

    limit: int
    skip: int = 0
    after: int = 0
    by_cursor: bool = False
    offset: int = 0

    @classmethod
    def of(cls, skip: int, limit: int, cursor: str | None) -> "Paging":
        """Raises InvalidCursor for a cursor that is not valid, or beside a skip."""
        if cursor is None:
            return cls(limit, skip, offset=skip)
        if skip:
            raise InvalidCursor("Send `skip` or `cursor`, not both.")
        return cls(limit, after=_decode(cursor), by_cursor=True)

    def starting_after(self, product_id: int) -> "Paging":
        """The same page, when `product_id` is known to be the last id that `skip` leaves out."""
        return replace(self, after=product_id, offset=0)

    def next_path(self, last_id: int, count: int) -> str:
        """The path of the page after `count` products; where `skip` would grow too deep it goes on by cursor."""
        if self.by_cursor or self.skip + count > MAX_SKIP:
            return f"/products?cursor={_encode(last_id)}&limit={self.limit}"
        return f"/products?skip={self.skip + count}&limit={self.limit}"


def _encode(last_id: int) -> str:
    return base64.urlsafe_b64encode(b"id:%d" % last_id).decode().rstrip("=")


def _decode(cursor: str) -> int:
    """The last id before the page; an empty cursor is the first page."""
    if not cursor:
        return 0
    try:
        found = _CURSOR(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        found = None
    if found is None:
        raise InvalidCursor("The cursor is not valid; take it from `next` of a list.")
    return int(found[1])
