"""What an HTTP service counts of its requests."""

from prometheus_client import Counter, Histogram

__all__ = ["REQUESTS", "REQUEST_SECONDS"]

REQUESTS = Counter("products_http_requests", "Requests answered.", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "products_http_request_duration_seconds",
    "Time from a request's first byte to its answer's last.",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
