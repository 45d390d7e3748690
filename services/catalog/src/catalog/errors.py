"""Catalog's own errors."""

from common.web.errors import BadRequest, Conflict, NotFound, PreconditionFailed

__all__ = ["InvalidCursor", "ProductNotFound", "StaleImport", "VersionConflict"]


class InvalidCursor(BadRequest):
    slug, title = "invalid-cursor", "Unusable cursor"


class ProductNotFound(NotFound):
    slug, title = "product-not-found", "No such product"

    def __init__(self, product_id: int) -> None:
        super().__init__(f"There is no product {product_id}.")


class VersionConflict(PreconditionFailed):
    slug, title = "version-conflict", "The product has changed"

    def __init__(self, detail: str, etag: str) -> None:
        super().__init__(detail, headers={"ETag": etag})


class StaleImport(Conflict):
    """A worker that lost its lease, or a page out of order: stop, the run is somebody else's."""

    slug, title = "stale-import", "The import went on without this worker"
