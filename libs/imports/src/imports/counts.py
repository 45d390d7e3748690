"""The numbers of a run, apart from its messages: a worker counts without knowing a product."""

import msgspec

__all__ = ["Counts"]


class Counts(msgspec.Struct, frozen=True):
    """What became of the records of a run.

    Of an applied pass `fetched` is the sum of `created`, `updated`, `unchanged`, `pinned`, `deleted`, `duplicates` and
    `rejected`. A product that comes back is `updated`; a record whose planned change met a conflict is `unchanged`.
    """

    fetched: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    removed: int = 0
    """Products that the pass lacks and that were removed for it. They were not fetched."""
    pinned: int = 0
    """Records that differ only in fields that an admin has pinned."""
    deleted: int = 0
    """Records of products that an admin has deleted, and which stay deleted."""
    duplicates: int = 0
    """Records whose external id the pass has again later: the last one counts."""
    conflicts: int = 0
    """Planned changes that were left, since their product has changed after the plan was made."""
