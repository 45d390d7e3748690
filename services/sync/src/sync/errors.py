"""Sync's own errors."""

from typing import Any
from uuid import UUID

from common.web.errors import Conflict, NotFound, Unprocessable

__all__ = [
    "ProductsChanged",
    "RunNotFound",
    "SourceConflict",
    "SourceFailed",
    "SourceMoved",
    "SourceNotFound",
    "WrongState",
]


class RunNotFound(NotFound):
    slug, title = "run-not-found", "No such run"

    def __init__(self, run_id: UUID) -> None:
        super().__init__(f"There is no run {run_id}.")


class SourceNotFound(NotFound):
    slug, title = "source-not-found", "No such source"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no source {name!r}; GET /sync/sources lists them.")


class WrongState(Conflict):
    """The run, or another one of its source, is in a state that does not allow it."""

    slug, title = "wrong-state", "The run is in another state"


class SourceConflict(Conflict):
    """The name is taken, a run is active, the environment has it, or somebody else has changed it meanwhile."""

    slug, title = "source-conflict", "The source cannot be changed so"


class SourceMoved(Conflict):
    """The source has another address than its products came from, and nobody has said yet what that means."""

    slug, title = "source-moved", "The source has another address"


class SourceFailed(Unprocessable):
    """A source that was tried could not be read; the text is the provider's."""

    slug, title = "source-failed", "The source cannot be read"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, [{"pointer": "#", "detail": detail}])


class ProductsChanged(Conflict):
    """Products have changed since the plan was made; `conflicts` names the first of them."""

    slug, title = "products-changed", "Products have changed since the plan was made"

    def __init__(self, conflicts: list[dict[str, Any]], total: int) -> None:
        first = ", ".join(str(it["product_id"] or it["external_id"]) for it in conflicts[:5])
        more = f" and {total - 5} more" if total > 5 else ""
        super().__init__(
            f"Changed since the plan was made: {first}{more}. Start a new run to plan anew, or cancel this one.",
            conflicts=conflicts,
            total=total,
        )
