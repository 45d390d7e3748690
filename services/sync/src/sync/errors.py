"""Sync's own errors."""

from uuid import UUID

from common.web.errors import NotFound

__all__ = ["RunNotFound"]


class RunNotFound(NotFound):
    slug, title = "run-not-found", "No such run"

    def __init__(self, run_id: UUID) -> None:
        super().__init__(f"There is no run {run_id}.")
