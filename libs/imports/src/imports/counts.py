"""The numbers of a run, apart from its messages: a worker counts without knowing a product."""

import msgspec

__all__ = ["Counts"]


class Counts(msgspec.Struct, frozen=True):
    """What became of the records of a run."""

    fetched: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
