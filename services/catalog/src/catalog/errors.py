"""The errors of catalog."""

from common.web.errors import BadRequest, Conflict, NotFound, PreconditionFailed

__all__ = ["InvalidCursor", "NoPlan", "ProductNotFound", "StaleImport", "VersionConflict"]


class InvalidCursor(BadRequest):
    slug, title = "invalid-cursor", "Invalid cursor"


class ProductNotFound(NotFound):
    slug, title = "product-not-found", "No such product"

    def __init__(self, product_id: int) -> None:
        super().__init__(f"There is no product {product_id}.")


class VersionConflict(PreconditionFailed):
    slug, title = "version-conflict", "The product has changed"

    def __init__(self, detail: str, etag: str) -> None:
        super().__init__(detail, headers={"ETag": etag})


class StaleImport(Conflict):
    """The worker has lost its lease, or its page is out of order: another worker continues the run."""

    slug, title = "stale-import", "Another worker continues this import"


class NoPlan(Conflict):
    """There is nothing that could be applied or reverted so; another worker would be told the same."""

    slug, title = "no-plan", "The run has no such plan"
