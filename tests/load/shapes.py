"""Hostile requests: each shape makes one request of about `size` bytes out of a route."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote

__all__ = ["SHAPES", "Request", "Route", "Shape"]

COMBINING = "\u0301"
LIGATURE = "\ufdfa"  # 18 characters after NFKC
# The limits that clients are told of: beyond them a request is refused by its length alone.
URL_LIMIT, HEADER_LIMIT = 8 * 1024, 16 * 1024


@dataclass(frozen=True)
class Route:
    """One operation of the API; `path` has its parameters filled in with what does not exist."""

    method: str
    path: str
    body: str = ""  # "json", "form" or nothing
    fields: tuple[str, ...] = ()


@dataclass
class Request:
    """What goes over the wire."""

    method: str
    target: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    chunk: int = 0  # bytes in each chunk of a chunked body; 0 sends Content-Length

    def encoded(self, host: str, token: str) -> bytes:
        """The whole request; it brings the token unless it has an Authorization of its own."""
        headers = [("Host", host), *self.headers]
        if token and not any(name == "Authorization" for name, _ in headers):
            headers.append(("Authorization", f"Bearer {token}"))
        if self.body:
            framing = ("Transfer-Encoding", "chunked") if self.chunk else ("Content-Length", str(len(self.body)))
            headers.append(framing)
        head = f"{self.method} {self.target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers)
        return head.encode("latin-1", "replace") + b"\r\n" + (self._chunked() if self.chunk else self.body)

    def _chunked(self) -> bytes:
        parts = (self.body[at : at + self.chunk] for at in range(0, len(self.body), self.chunk))
        return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@dataclass(frozen=True)
class Shape:
    """A name and how to make it; `part` is where the bytes are: path, query, header or body."""

    name: str
    part: str
    make: Callable[[Route, int], Request]

    def fits(self, route: Route) -> bool:
        """Whether the route takes such a request at all: bodies go where bodies are read."""
        return self.part not in ("json", "form") or route.body == self.part


def repeated(unit: str, size: int) -> str:
    return (unit * (size // len(unit) + 1))[:size]


def path(name: str, unit: str) -> Shape:
    """Below the route's path, `unit` again and again."""
    return Shape(name, "path", lambda route, size: Request(route.method, f"{route.path}/{repeated(unit, size)}"))


def query(name: str, text: Callable[[int], str]) -> Shape:
    return Shape(name, "query", lambda route, size: Request(route.method, f"{route.path}?{text(size)}"))


def header(name: str, lines: Callable[[int], list[tuple[str, str]]]) -> Shape:
    return Shape(name, "header", lambda route, size: Request(route.method, route.path, lines(size)))


def document(name: str, text: Callable[[Route, int], str | bytes], *more: tuple[str, str], chunk: int = 0) -> Shape:
    def make(route: Route, size: int) -> Request:
        body = text(route, size)
        encoded = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
        headers = [("Content-Type", "application/json"), *more]
        return Request(route.method, route.path, headers, encoded, chunk)

    return Shape(name, "json", make)


def form(name: str, text: Callable[[int], str]) -> Shape:
    kind = [("Content-Type", "application/x-www-form-urlencoded")]
    return Shape(name, "form", lambda route, size: Request(route.method, route.path, kind, text(size).encode()))


def with_fields(value: Callable[[int], str]) -> Callable[[Route, int], str]:
    """An object that has the route's own members, each with a share of the size."""

    def text(route: Route, size: int) -> str:
        share = size // max(1, len(route.fields))
        return "{" + ", ".join(f'"{name}": {value(share)}' for name in route.fields) + "}"

    return text


def numbered(template: str, size: int, separator: str = ", ") -> str:
    """`template` with 0, 1, 2 ... in the place of its N, up to `size` characters."""
    count = max(1, size // (len(template) + len(separator) + 3))
    return separator.join(template.replace("N", str(number)) for number in range(count))


def nested_token(size: int) -> str:
    head = '{"alg":"ES256","typ":"at+jwt","kid":' + "[" * (size // 2) + "]" * (size // 2) + "}"
    return base64.urlsafe_b64encode(head.encode()).decode().rstrip("=")[:size] + ".e30.e30"


SHAPES: tuple[Shape, ...] = (
    path("path: one letter", "a"),
    path("path: words of secrets", "token"),
    path("path: words of secrets, joined", "-password-secret_api-key"),
    path("path: pairs like secrets", "token=a:"),
    path("path: like credentials in a URL", "a://a:"),
    path("path: like tokens", "eyJa.eyJa."),
    path("path: escapes of a terminal", "%1b%5b2J%0a"),
    path("path: marks", quote(COMBINING)),
    path("path: segments", "a/"),
    path("path: slashes", "/"),
    path("path: dots", "../"),
    path("path: digits", "9"),
    path("path: percent signs", "%"),
    query("query: one long value", lambda size: "limit=" + "9" * size),
    query("query: many names", lambda size: numbered("aN=1", size, "&")),
    query("query: one name again and again", lambda size: repeated("limit=1&", size)),
    query("query: separators", lambda size: "&" * size),
    query("query: brackets", lambda size: "price" + "[" * size),
    query("query: escapes", lambda size: "cursor=" + repeated("%25", size)),
    query("query: a cursor", lambda size: "cursor=" + "QUJD" * (size // 4)),
    header("headers: many", lambda size: [(f"X-{number}", "a" * 20) for number in range(size // 26)]),
    header("headers: one long", lambda size: [("X-Long", "a" * size)]),
    header("headers: a long token", lambda size: [("Authorization", "Bearer " + repeated("eyJa.", size))]),
    header("headers: a nested token", lambda size: [("Authorization", "Bearer " + nested_token(size))]),
    header("headers: basic credentials", lambda size: [("Authorization", "Basic " + "YTph" * (size // 4))]),
    header("headers: many tags", lambda size: [("If-None-Match", numbered('"N-1"', size))]),
    header("headers: open quotes in tags", lambda size: [("If-Match", repeated('W/"', size))]),
    header("headers: spaces between tags", lambda size: [("If-Match", '"1-1"' + repeated(" ,\t", size))]),
    header("headers: hops", lambda size: [("X-Forwarded-For", numbered("10.0.0.N", size))]),
    header("headers: a request id", lambda size: [("X-Request-ID", "a" * size)]),
    header("headers: an origin", lambda size: [("Origin", "https://" + repeated("a.", size))]),
    header("headers: trace state", lambda size: [("traceparent", "00-" + "a" * size), ("tracestate", "a=1," * 9)]),
    header("headers: a content type", lambda size: [("Content-Type", "application/json; " + repeated("a=b;", size))]),
    document("json: nested arrays", lambda _, size: "[" * (size // 2) + "]" * (size // 2)),
    document("json: nested objects", lambda _, size: '{"a":' * (size // 6) + "1" + "}" * (size // 6)),
    document("json: never closed", lambda _, size: '{"a":[' * (size // 6)),
    document("json: wide array", lambda _, size: "[" + "0," * (size // 2) + "0]"),
    document("json: many unknown members", lambda _, size: "{" + numbered('"unknownN": 1', size) + "}"),
    document("json: one member again and again", lambda _, size: "{" + repeated('"name": 1, ', size - 9) + '"name":1}'),
    document("json: members of a wrong type", with_fields(lambda size: "[" + "[]," * (size // 3) + "[]]")),
    document("json: long texts", with_fields(lambda size: json.dumps("a" * size))),
    document("json: marks", with_fields(lambda size: json.dumps(COMBINING * (size // 2), ensure_ascii=False))),
    document("json: what grows when normalised",
             with_fields(lambda size: json.dumps(LIGATURE * (size // 3), ensure_ascii=False))),
    document("json: like addresses", with_fields(lambda size: json.dumps("a@" + "a." * (size // 2)))),
    document("json: like addresses with hyphens",
             with_fields(lambda size: json.dumps("a@" + "-a" * (size // 2) + "."))),
    document("json: spaces in texts", with_fields(lambda size: json.dumps(" " * size))),
    document("json: escapes in texts", with_fields(lambda size: '"' + "\\u0061" * (size // 6) + '"')),
    document("json: huge integers", with_fields(lambda size: "9" * size)),
    document("json: many digits", with_fields(lambda size: "0." + "1" * size)),
    document("json: huge exponents",
             lambda _, size: '{"attributes": {' + numbered('"aN": 1e308', size) + "}}"),
    document("json: tiny exponents",
             lambda _, size: '{"attributes": {' + numbered('"aN": 1e-308', size) + "}}"),
    document("json: wide attributes", lambda _, size: '{"attributes": {' + numbered('"aN": "b"', size) + "}}"),
    document("json: deep attributes",
             lambda _, size: '{"attributes": ' + '{"a":' * (size // 6) + "1" + "}" * (size // 6) + "}"),
    document("json: white space", lambda _, size: " " * size),
    document("json: not UTF-8", lambda _, size: b'{"name": "' + b"\xff" * size + b'"}'),
    document("json: surrogates", lambda _, size: '{"name": "' + "\\ud800" * (size // 6) + '"}'),
    document("json: a byte in each chunk", lambda _, size: '{"name": "' + "a" * size + '"}', chunk=1),
    document("json: says gzip", lambda _, size: b"\x1f\x8b" + b"\x00" * size, ("Content-Encoding", "gzip")),
    document("json: says UTF-16", lambda _, size: '{"name": "a"}'.encode("utf-16") * (size // 28),
             ("Content-Type", "application/json; charset=utf-16")),
    form("form: many fields", lambda size: numbered("aN=b", size, "&")),
    form("form: a long field", lambda size: "grant_type=password&username=" + "a" * size),
    form("form: marks", lambda size: "username=" + quote(COMBINING) * (size // 6) + "&password=x"),
    form("form: escapes", lambda size: "password=" + "%61" * (size // 3)),
    form("form: separators", lambda size: "&" * size),
)  # fmt: skip
