"""The bodies of the import routes: what sync sends and what catalog answers, as JSON.

During an upgrade sync and catalog are of two releases, so each ignores the fields that it does not know.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from imports.counts import Counts
from imports.product import ExternalProduct, check

__all__ = [
    "KINDS", "MAX_ITEMS", "MAX_LISTED", "MAX_PAYLOAD", "MAX_REASON", "PRUNE_PATH", "RUN_PATH", "Apply", "Change",
    "Changes", "Comparison", "Conflict", "Conflicts", "Difference", "Fence", "ImportPage", "ImportState", "KeptReject",
    "Missing", "MissingPolicy", "Progress", "Prune", "Pruned", "Reject", "Rejects", "Revert", "Staged", "decode_page",
]  # fmt: skip

RUN_PATH = "/internal/imports/{source}/runs/{run_id}"
PRUNE_PATH = "/internal/imports/prune"
MAX_ITEMS, MAX_LISTED = 500, 1000
MAX_REASON, MAX_PAYLOAD = 500, 2048
MissingPolicy = Literal["keep", "mark", "remove"]
"""What becomes of products of the source that a complete pass lacks."""
KINDS = ("created", "changed", "pinned", "returned", "seen", "removed", "marked", "deleted")
"""What a change does. `pinned` has only fields that stay as they are; `seen` takes back `marked`, and `returned`
`removed`; `deleted` removes for good what a reverted run created."""


class Reject(msgspec.Struct, frozen=True, kw_only=True):
    """A record that is no product: why, and what it looked like.

    `reason` names the field and the rule, never the value. `payload` is JSON with everything long cut out,
    at most 2 KB of ASCII; it may be cut in the middle, so store it as text. `position` is the number of the record in
    its pass, if that is known.
    """

    external_id: str | None
    reason: Annotated[str, Meta(max_length=MAX_REASON)]
    payload: Annotated[str, Meta(max_length=MAX_PAYLOAD)]
    position: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None


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
    """Where to go on: after `cursor`; if `complete`, with what the pass changes; if `applying`, with writing that.

    What is being applied was decided, and may be applied already: it is not compared again.
    """

    cursor: str | None
    complete: bool
    applying: bool = False


class Missing(Fence, frozen=True, kw_only=True):
    """Compare or plan with this policy for products that the pass lacks."""

    missing: MissingPolicy = "keep"


class Apply(Missing, frozen=True, kw_only=True):
    """Apply the staged pass, or, if `planned`, exactly what was planned."""

    planned: bool = False


class Revert(Fence, frozen=True, kw_only=True):
    """Plan what undoes the run `of`."""

    of: UUID


class Prune(msgspec.Struct, frozen=True, kw_only=True):
    """Delete the changes and rejects of runs from before."""

    before: Annotated[datetime, Meta(tz=True)]


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows were deleted; if not `done`, there are more."""

    changes: int
    rejects: int
    done: bool


class Comparison(Counts, frozen=True, kw_only=True):
    """What applying the pass would do.

    `removed` is `missing` if the policy is to remove them, otherwise 0.
    """

    missing: int = 0
    """Live products of the source that the pass lacks. Those whose record was rejected are not among them."""
    live: int = 0
    """Live products of the source as it is."""
    median_price_change: float | None = None
    """The median of |new - old| / old over the products whose price changes, from another one than 0."""
    price_changes: int = 0
    """Over how many products."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far planning or applying has come: call again until it is done."""

    done: bool
    counts: Counts


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Two values of a field, as JSON."""

    old: Any = None
    new: Any = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One planned or applied change of a product. `pinned` has the fields that are left as an admin pinned them."""

    id: int
    kind: str
    external_id: str
    product_id: int | None
    name: str | None
    version: int | None
    """Of the product before the change; null for one that is created."""
    applied: bool
    changes: dict[str, Difference]
    pinned: dict[str, Difference]


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """Changes by id. `next` is `after` of the next page, null on the last one."""

    items: list[Change]
    next: int | None
    totals: dict[str, int] = {}
    """How many changes of each kind the run has, filtered or not; on the first page only."""


class Conflict(msgspec.Struct, frozen=True, kw_only=True):
    """A change that cannot be applied as planned: the product is not at the expected version any more.

    `expected` is null for one to be created; `current` is null for one that is gone.
    """

    external_id: str
    product_id: int | None
    name: str | None
    expected: int | None
    current: int | None


class Conflicts(msgspec.Struct, frozen=True, kw_only=True):
    """The first conflicts of a plan, and how many there are."""

    items: list[Conflict]
    total: int


class KeptReject(Reject, frozen=True, kw_only=True):
    """A reject as it is kept."""

    id: int


class Rejects(msgspec.Struct, frozen=True, kw_only=True):
    """Rejects by id. `next` is `after` of the next page, null on the last one."""

    items: list[KeptReject]
    next: int | None


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
