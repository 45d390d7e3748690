"""What is done to each request and answer between client and service, in this order, and back."""

from typing import Any

from gateway import routes
from gateway.messages import EXTENSIONS, Config, set_header

__all__ = ["router", "through"]

REQUEST_ID = r"[A-Za-z0-9._-]{1,64}"
COMPRESSED = r"(application/(problem\+)?json|(text|application)/javascript|text/(html|css|plain)|image/svg\+xml)(;.*)?"
# A product's body that is compressed has a tag of its own (RFC 9110 8.8.3.3), still a strong one, so that a client may
# send it in If-Match; the service gets back its own. Other tags become weak ones when their body is compressed.
CONDITIONS = ("if-match", "if-none-match")
TAGS = """
function envoy_on_request(handle)
  local headers = handle:headers()
  for _, name in ipairs({"if-match", "if-none-match"}) do
    local tags = headers:get(name)
    if tags and tags:find("-gzip\\"", 1, true) or tags and tags:find("-zstd\\"", 1, true) then
      headers:replace(name, (tags:gsub('%-gzip"', '"'):gsub('%-zstd"', '"')))
    end
  end
end
function envoy_on_response(handle)
  local headers = handle:headers()
  local coding = headers:get("content-encoding")
  if coding then
    local tag = headers:get("etag")
    local opaque = tag and tag:match('^W/"(%d+%-%d+)"$')
    if opaque then headers:replace("etag", '"' .. opaque .. "-" .. coding .. '"') end
  end
end
"""


# The fastest level of each; the one that stands first is chosen for clients that take both.
LIBRARIES: dict[str, Config] = {
    "zstd": {"compression_level": 1},
    "gzip": {"compression_level": "COMPRESSION_LEVEL_1", "memory_level": 5, "window_bits": 12},
}


def through() -> list[Config]:
    return [_request_ids(), _buffer(), _tags(), *map(_compressor, LIBRARIES), router()]


def _request_ids() -> Config:
    """An id that is too long or has other characters is replaced."""
    mutation = {
        "@type": f"{EXTENSIONS}.filters.http.header_mutation.v3.HeaderMutation",
        "mutations": {"request_mutations": [{"append": set_header("x-request-id", "%UNIQUE_ID%")}]},
    }
    return _unless(_has("x-request-id", REQUEST_ID), "envoy.filters.http.header_mutation", mutation)


def _unless(predicate: Config, name: str, config: Config) -> Config:
    """A filter that is left out of requests that `predicate` matches."""
    skip = {"@type": f"{EXTENSIONS}.filters.common.matcher.action.v3.SkipFilter"}
    on_match = {"action": {"name": "skip", "typed_config": skip}}
    return {
        "name": f"some-{name}",
        "typed_config": {
            "@type": f"{EXTENSIONS}.common.matching.v3.ExtensionWithMatcher",
            "extension_config": {"name": name, "typed_config": config},
            "xds_matcher": {"matcher_list": {"matchers": [{"predicate": predicate, "on_match": on_match}]}},
        },
    }


def _has(header: str, pattern: str) -> Config:
    """Whether a request has this header, with a value of this pattern."""
    kind = "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput"
    value = {"name": header, "typed_config": {"@type": kind, "header_name": header}}
    regex = {"google_re2": {}, "regex": pattern}
    return {"single_predicate": {"input": value, "value_match": {"safe_regex": regex}}}


def _buffer() -> Config:
    """A service is asked when the whole body is there: slow clients keep no process busy."""
    return _http_filter("buffer", "buffer.v3.Buffer", max_request_bytes=max(it.body for it in routes.SERVICES))


def _tags() -> Config:
    coded = [_has("accept-encoding", ".*(gzip|zstd).*"), *(_has(it, ".*-(gzip|zstd).*") for it in CONDITIONS)]
    script = {"@type": f"{EXTENSIONS}.filters.http.lua.v3.Lua", "default_source_code": {"inline_string": TAGS}}
    return _unless({"not_matcher": {"or_matcher": {"predicate": coded}}}, "envoy.filters.http.lua", script)


def _compressor(coding: str) -> Config:
    kind = {"@type": f"{EXTENSIONS}.compression.{coding}.compressor.v3.{coding.title()}"}
    library = {"name": coding, "typed_config": kind | LIBRARIES[coding]}
    response = {
        "common_config": {"min_content_length": 1024, "content_type_matcher": {"safe_regex": {"regex": COMPRESSED}}},
        "weaken_etag_on_compress": True,
    }
    config = {
        "@type": f"{EXTENSIONS}.filters.http.compressor.v3.Compressor",
        "compressor_library": library,
        "response_direction_config": response,
        "choose_first": True,
    }
    return {"name": f"envoy.filters.http.compressor.{coding}", "typed_config": config}


def router() -> Config:
    return _http_filter("router", "router.v3.Router", suppress_envoy_headers=True)


def _http_filter(name: str, kind: str, **options: Any) -> Config:
    return {
        "name": f"envoy.filters.http.{name}",
        "typed_config": {"@type": f"{EXTENSIONS}.filters.http.{kind}"} | options,
    }
