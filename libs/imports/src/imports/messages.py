"""The bodies of the import routes: what sync sends and what catalog answers, as JSON.

During an upgrade sync and catalog are of two releases, so each ignores the fields that it does not know.
"""

from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import Meta

from imports.product import ExternalProduct, check

__all__ = [
    "MAX_ITEMS",
    "MAX_PAYLOAD",
    "MAX_REASON",
    "RUN_PATH",
    "Fence",
    "ImportPage",
    "ImportState",
    "Reject",
    "Staged",
    "decode_page",
]

RUN_PATH = "/internal/imports/{source}/runs/{run_id}"
MAX_ITEMS = 500
MAX_REASON, MAX_PAYLOAD = 500, 2048


class Reject(msgspec.Struct, frozen=True, kw_only=True):
    """A record that is no product: why, and what it looked like.

    `reason` names the field and the rule, never the value. `payload` is JSON with everything long cut out,
    at most 2 KB of ASCII; it may be cut in the middle, so store it as text.
    """

    external_id: str | None
    reason: Annotated[str, Meta(max_length=MAX_REASON)]
    payload: Annotated[str, Meta(max_length=MAX_PAYLOAD)]


class Fence(msgspec.Struct, frozen=True, kw_only=True):
    """The fencing token grows with every worker that takes the run over; a lower one is refused."""

    fencing_token: Annotated[int, Meta(ge=1, le=2**63 - 1)] = msgspec.field(name="fence")


class ImportPage(Fence, frozen=True, kw_only=True):
    """A page that `after` led to; `cursor` leads to the next one and is null on the last page."""

    after: str | None
    cursor: str | None
    items: Annotated[list[ExternalProduct], Meta(max_length=MAX_ITEMS)]
    rejects: Annotated[list[Reject], Meta(max_length=MAX_ITEMS)] = []


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """How many records of a run are staged, and how many were rejected."""

    staged: int
    rejected: int


class ImportState(Staged, frozen=True, kw_only=True):
    """Where to go on: after `cursor`, or to the merge if `complete`."""

    cursor: str | None
    complete: bool


_page_decoder = msgspec.json.Decoder(ImportPage, float_hook=Decimal)


def decode_page(body: bytes) -> ImportPage:
    """Raises msgspec.ValidationError with the rule and the place, msgspec.DecodeError for what is not JSON."""
    page = _page_decoder.decode(body)
    for number, item in enumerate(page.items):
        try:
            check(item)
        except ValueError as error:
            field, _, rule = str(error).partition(": ")
            raise msgspec.ValidationError(f"{rule} - at `$.items[{number}].{field}`") from None
    return page
