"""What is not public is not there, however it is spelled."""

from tests.deploy.client import Client
from tests.deploy.report import Report

__all__ = ["check_hidden_paths"]

HIDDEN = (
    "/internal", "/internal/imports", "/metrics", "/livez", "/auth/livez", "/sync/metrics", "/nothing",
    "//internal", "//livez", "/./internal", "/auth/../internal", "/auth/..//livez", "/products/../metrics",
    "/auth/%2e%2e/internal", "/%2e%2e/livez", "/products/%2e%2e/internal/imports", "/products/..%2finternal",
    "/products/%2e%2e%2finternal", "/products/..;/internal", "/products/..%5cinternal", "/%69nternal", "/INTERNAL",
    "/products%2f..%2flivez", "/docs/../livez", "/docs/%2e%2e/metrics", "/auth//../livez", "/sync/.%2e/livez",
)  # fmt: skip


def check_hidden_paths(report: Report, part: str, client: Client, way: str) -> None:
    """A row for all spellings; `way` names the way in."""
    reached = {path: status for path in HIDDEN if (status := client.raw_status(path)) not in (400, 404, 422)}
    report.check(part, f"{len(HIDDEN)} spellings of inner paths through {way}", {}, reached)
