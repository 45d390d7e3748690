"""What is reachable from outside, who serves it, and what becomes of a request there."""

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.messages import EXTENSIONS, Config

__all__ = ["SERVICES", "routes"]

FILTERS = f"{EXTENSIONS}.filters.http"
GET = {"name": ":method", "string_match": {"exact": "GET"}}
MAX_URL = 8 * 1024
# Seconds. Nothing that a service does takes longer; a stream (Server-Sent Events) sends at least a comment as often.
IDLE, WHOLE, STREAM_IDLE = 10, 60, 120


@dataclass(frozen=True)
class Service:
    """Its public paths: `below` with all that is below them, and single `paths`. Bodies are of `body` bytes at most.

    `upstream` is its address unless a setting says otherwise. `health` is answered by it, ready or not, so by addresses
    that nobody checks.
    """

    name: str
    upstream: str
    body: int
    health: str
    below: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


# Their routes are tried in this order, so what is asked most often stands first.
SERVICES = (
    Service(
        "catalog",
        "catalog:8000",
        body=128 * 1024,
        health="/health",
        below=("/products", "/docs"),
        # Some are other spellings, which are answered with the right one.
        paths=(
            *("/", "/problems", "/favicon.ico", "/redoc", "/redoc/"),
            *("/openapi.json", "/openapi.json/", "/health", "/health/"),
        ),
    ),
    Service(
        "auth",
        "auth:8000",
        body=16 * 1024,
        health="/auth/health",
        below=("/auth",),
        paths=("/.well-known/jwks.json",),
    ),
    Service("sync", "sync-api:8000", body=16 * 1024, health="/sync/health", below=("/sync",)),
)

# A service gets the path as it was sent. What it, or a proxy, could read as another path is nobody's.
AMBIGUOUS = r"(?i).*(\.\.|//|/\.(/|$)|/\.;|\\|%2e|%2f|%5c|%25|%00).*"


def routes() -> list[Config]:
    """In the order in which they are tried."""
    return [
        _refusal({"connect_matcher": {}}, 403),
        _refusal({"prefix": "/", "headers": [_header(":path", _longer_than(MAX_URL))]}, 414),
        _refusal({"safe_regex": {"regex": AMBIGUOUS}}, 404),
        *(_health(service) for service in SERVICES),
        *(route for service in SERVICES for route in _routes_of(service)),
        _refusal({"prefix": "/"}, 404),
    ]


def _routes_of(service: Service) -> Iterator[Config]:
    paths = [("path_separated_prefix", path) for path in service.below] + [("path", path) for path in service.paths]
    for kind, path in paths:
        # Wrong case is answered by the service, which knows the right one.
        match: Config = {kind: path, "case_sensitive": False}
        stream = {"name": "accept", "string_match": {"prefix": "text/event-stream"}}
        yield _route(service, match | {"headers": [stream, GET]}, _action(service.name, SAFE_RETRY, 0, STREAM_IDLE))
        for method in (GET, _header(":method", "HEAD|OPTIONS")):
            yield _route(service, match | {"headers": [method]}, _action(service.name, SAFE_RETRY))
        yield _route(service, match, _action(service.name, UNSENT_RETRY))


def _route(service: Service, match: Config, action: Config) -> Config:
    name = str(match.get("path") or match.get("path_separated_prefix"))
    limit = {"@type": f"{FILTERS}.buffer.v3.BufferPerRoute", "buffer": {"max_request_bytes": service.body}}
    filters = {"envoy.filters.http.buffer": limit}
    return {"name": name, "match": match, "route": action, "typed_per_filter_config": filters}


def _health(service: Service) -> Config:
    path = service.health
    return {"name": path, "match": {"path": path}, "route": _action(f"{service.name}-health", None)}


def _action(cluster: str, retry: Config | None, whole: int = WHOLE, idle: int = IDLE) -> Config:
    action: Config = {"cluster": cluster, "timeout": f"{whole}s", "idle_timeout": f"{idle}s"}
    return action | ({"retry_policy": retry} if retry else {})


def _refusal(match: Config, status: int) -> Config:
    """An answer of our own; its body is made where all answers of our own are."""
    unread = {"@type": f"{FILTERS}.buffer.v3.BufferPerRoute", "disabled": True}
    return {
        "name": f"refused-{status}",
        "match": match,
        "direct_response": {"status": status},
        "typed_per_filter_config": {"envoy.filters.http.buffer": unread},
    }


def _header(name: str, pattern: str) -> Config:
    return {"name": name, "string_match": {"safe_regex": {"regex": pattern}}}


def _longer_than(length: int) -> str:
    # RE2 takes at most 1000 repetitions of one thing.
    thousands, rest = divmod(length + 1, 1000)
    return r"[^\n]{1000}" * thousands + rf"[^\n]{{{rest}}}.*"


def _retry(conditions: str) -> Config:
    """On another host; how many at once is up to the cluster."""
    return {
        "retry_on": conditions,
        "num_retries": 2,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {"@type": f"{EXTENSIONS}.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
            }
        ],
        "host_selection_retry_max_attempts": "3",
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
    }


UNSENT_RETRY = _retry("connect-failure,refused-stream,reset-before-request")
SAFE_RETRY = _retry("connect-failure,refused-stream,reset-before-request,reset")
