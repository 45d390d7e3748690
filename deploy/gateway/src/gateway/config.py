"""Envoy's whole configuration, from the settings: `python -m gateway config` prints it.

All ways to run the product have the same one, but for the addresses of the services and what a setting names.
"""

from pathlib import Path
from typing import Any

from gateway import clusters, problems, routes
from gateway.settings import GatewaySettings

__all__ = ["STATS", "bootstrap"]

Config = dict[str, Any]

TYPE = "type.googleapis.com/envoy.extensions"
# The name of the public listener in Envoy's statistics.
STATS = "gateway"
MOST_CONNECTIONS = 8192
MOST_HEAP = 400 * 1024 * 1024
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


def bootstrap(settings: GatewaySettings, folder: Path) -> Config:
    """`folder` holds the socket of Envoy's administration, which nobody else may enter."""
    admin_socket = folder / "admin.sock"
    return {
        "node": {"id": "gateway", "cluster": "gateway"},
        "admin": {"address": {"pipe": {"path": str(admin_socket), "mode": 0o600}}},
        "static_resources": {
            "listeners": [_public(settings, folder), _observed(settings)],
            "clusters": clusters.clusters(settings, admin_socket),
        },
        "overload_manager": _overload(),
        "stats_config": {"stats_matcher": _stats()},
        # The pattern for long URLs is long, and still takes a step for each character.
        "layered_runtime": {
            "layers": [{"name": "static", "static_layer": {"re2.max_program_size.error_level": 20_000}}]
        },
        **({"application_log_config": {"log_format": {"json_format": _LOG_LINE}}} if _is_json(settings) else {}),
    }


_LOG_LINE = {"time": "%Y-%m-%dT%H:%M:%S.%e+00:00", "level": "%l", "service": "gateway", "logger": "%n", "message": "%j"}


def _is_json(settings: GatewaySettings) -> bool:
    return settings.log_format == "json"


def _public(settings: GatewaySettings, folder: Path) -> Config:
    chain: Config = {"filters": [_network_filter(_connections(settings))]}
    if settings.tls:
        chain["transport_socket"] = _tls(folder)
    return {
        "name": "public",
        "address": _address(settings.host, settings.port),
        "per_connection_buffer_limit_bytes": 65536,
        "tcp_backlog_size": 4096,
        "connection_balance_config": {"exact_balance": {}},
        "filter_chains": [chain],
    }


def _connections(settings: GatewaySettings) -> Config:
    """The HTTP connection manager of the clients."""
    manager = {
        "stat_prefix": STATS,
        "codec_type": "AUTO" if settings.tls else "HTTP1",
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "gateway"},
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 65536,
            "initial_connection_window_size": 1024 * 1024,
        },
        "common_http_protocol_options": {"idle_timeout": "75s", "max_headers_count": 100},
        # Over 16 KB the services answer with a problem document of their own.
        "max_request_headers_kb": 96,
        "request_headers_timeout": "10s",
        "request_timeout": f"{routes.WHOLE}s",
        "stream_idle_timeout": f"{routes.IDLE}s",
        "delayed_close_timeout": "0.25s",
        "use_remote_address": True,
        "xff_num_trusted_hops": settings.trusted_proxy_hops,
        "server_header_transformation": "PASS_THROUGH",
        # Paths are compared, and passed on, as they were sent; what could be read in two ways is refused.
        "normalize_path": False,
        "merge_slashes": False,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "generate_request_id": True,
        "preserve_external_request_id": True,
        "request_id_extension": {
            "typed_config": {
                "@type": f"{TYPE}.request_id.uuid.v3.UuidRequestIdConfig",
                "pack_trace_reason": False,
                "use_request_id_for_trace_sampling": False,
            }
        },
        "local_reply_config": problems.local_replies(settings.origins),
        "access_log": [_access_log(settings)],
        "http_filters": [_request_ids(), _buffer(), _tags(), *map(_compressor, ("zstd", "gzip")), _router()],
        "route_config": _route_config(),
    }
    return manager | ({"tracing": _tracing(settings)} if settings.otlp_endpoint else {})


def _route_config() -> Config:
    # The services get one address, the client's: Envoy has found it in the chain, by the number of trusted proxies.
    client = _set("X-Forwarded-For", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")
    return {
        "name": "public",
        "virtual_hosts": [
            {
                "name": "products-api",
                "domains": ["*"],
                "routes": routes.routes(),
            }
        ],
        "request_headers_to_add": [client, _set("X-Forwarded-Host", "%REQ(:AUTHORITY)%")],
        "request_headers_to_remove": ["forwarded"],
        "response_headers_to_add": [_set("X-Request-ID", "%REQ(X-REQUEST-ID)%")],
        "response_headers_to_remove": ["server", "via", "x-envoy-upstream-service-time"],
    }


def _set(name: str, value: str) -> Config:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _request_ids() -> Config:
    """An id that is too long or has other characters is replaced."""
    mutation = {
        "@type": f"{TYPE}.filters.http.header_mutation.v3.HeaderMutation",
        "mutations": {"request_mutations": [{"append": _set("x-request-id", "%UNIQUE_ID%")}]},
    }
    return _unless(_has("x-request-id", REQUEST_ID), "envoy.filters.http.header_mutation", mutation)


def _unless(predicate: Config, name: str, config: Config) -> Config:
    """A filter that is left out of requests that `predicate` matches."""
    skip = {"@type": f"{TYPE}.filters.common.matcher.action.v3.SkipFilter"}
    on_match = {"action": {"name": "skip", "typed_config": skip}}
    return {
        "name": f"some-{name}",
        "typed_config": {
            "@type": f"{TYPE}.common.matching.v3.ExtensionWithMatcher",
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
    script = {"@type": f"{TYPE}.filters.http.lua.v3.Lua", "default_source_code": {"inline_string": TAGS}}
    return _unless({"not_matcher": {"or_matcher": {"predicate": coded}}}, "envoy.filters.http.lua", script)


def _compressor(coding: str) -> Config:
    options: Config = {"gzip": {"compression_level": "COMPRESSION_LEVEL_1", "memory_level": 5, "window_bits": 12}}.get(
        coding, {"compression_level": 1}
    )
    library = {
        "name": coding,
        "typed_config": {"@type": f"{TYPE}.compression.{coding}.compressor.v3.{coding.title()}"} | options,
    }
    response = {
        "common_config": {"min_content_length": 1024, "content_type_matcher": {"safe_regex": {"regex": COMPRESSED}}},
        "weaken_etag_on_compress": True,
    }
    config = {
        "@type": f"{TYPE}.filters.http.compressor.v3.Compressor",
        "compressor_library": library,
        "response_direction_config": response,
        "choose_first": True,
    }
    return {"name": f"envoy.filters.http.compressor.{coding}", "typed_config": config}


def _router() -> Config:
    return _http_filter("router", "router.v3.Router", suppress_envoy_headers=True)


def _http_filter(name: str, kind: str, **options: Any) -> Config:
    return {"name": f"envoy.filters.http.{name}", "typed_config": {"@type": f"{TYPE}.filters.http.{kind}"} | options}


def _access_log(settings: GatewaySettings) -> Config:
    """What the services have not logged: refusals, and answers that never came or broke off. No query string."""
    fields = {
        "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3f+00:00)%",
        "level": "info",
        "service": "gateway",
        "logger": "gateway.access",
        "message": "%REQ(:METHOD):20% %PATH(NQ):200% -> %RESPONSE_CODE%",
        "status": "%RESPONSE_CODE%",
        "ms": "%DURATION%",
        "reason": "%RESPONSE_CODE_DETAILS%",
        "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "request_id": problems.REQUEST_ID,
    }
    text = "%START_TIME(%H:%M:%S)% INFO    {message} {reason} request_id={request_id}\n".format_map(fields)
    form = {"json_format": fields} if _is_json(settings) else {"text_format_source": {"inline_string": text}}
    return {
        "name": "envoy.access_loggers.stdout",
        "filter": {
            "extension_filter": {
                "name": "envoy.access_loggers.extension_filters.cel",
                "typed_config": {
                    "@type": f"{TYPE}.access_loggers.filters.cel.v3.ExpressionFilter",
                    "expression": "response.code_details != 'via_upstream'",
                },
            }
        },
        "typed_config": {"@type": f"{TYPE}.access_loggers.stream.v3.StdoutAccessLog", "log_format": form},
    }


def _tracing(settings: GatewaySettings) -> Config:
    assert settings.otlp_endpoint is not None
    exporter = {
        "http_uri": {"uri": f"{settings.otlp_endpoint}/v1/traces", "cluster": clusters.OTLP, "timeout": "5s"},
    }
    return {
        "random_sampling": {"value": settings.sampled * 100},
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                "service_name": "gateway",
                "http_service": exporter,
            },
        },
    }


def _tls(folder: Path) -> Config:
    """Certificate and key are read again when their folder changes, as a Secret's does when it is renewed."""
    secret = {"name": "server", "sds_config": {"path_config_source": {"path": str(folder / "tls.json")}}}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{TYPE}.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "tls_certificate_sds_secret_configs": [secret],
            },
        },
    }


def secrets(certificate: Path, key: Path) -> Config:
    """The file that `_tls` names."""
    return {
        "resources": [
            {
                "@type": f"{TYPE}.transport_sockets.tls.v3.Secret",
                "name": "server",
                "tls_certificate": {
                    "certificate_chain": {"filename": str(certificate)},
                    "private_key": {"filename": str(key)},
                    "watched_directory": {"path": str(certificate.parent)},
                },
            }
        ]
    }


def _observed(settings: GatewaySettings) -> Config:
    """/metrics for Prometheus, /health for probes; nothing else of Envoy's administration."""
    route = [
        {"match": {"path": path}, "route": {"cluster": clusters.ADMIN, "prefix_rewrite": target}}
        for path, target in {"/metrics": "/stats/prometheus", "/health": "/ready"}.items()
    ]
    manager = {
        "stat_prefix": "observed",
        "codec_type": "HTTP1",
        "server_header_transformation": "PASS_THROUGH",
        "request_headers_timeout": "10s",
        "stream_idle_timeout": "10s",
        "generate_request_id": False,
        "http_filters": [_router()],
        "route_config": {"virtual_hosts": [{"name": "observed", "domains": ["*"], "routes": route}]},
    }
    return {
        "name": "observed",
        "address": _address(settings.host, settings.metrics_port),
        "ignore_global_conn_limit": True,
        "filter_chains": [{"filters": [_network_filter(manager)]}],
    }


def _network_filter(manager: Config) -> Config:
    kind = f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager"
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": {"@type": kind} | manager}


def _address(host: str, port: int) -> Config:
    return {"socket_address": {"address": host, "port_value": port}}


def _overload() -> Config:
    """With much memory in use idle connections go first, then those that hold most; new ones are refused last."""
    heap, connections = (
        "envoy.resource_monitors.fixed_heap",
        "envoy.resource_monitors.global_downstream_max_connections",
    )

    def action(name: str, threshold: float) -> Config:
        return {
            "name": f"envoy.overload_actions.{name}",
            "triggers": [{"name": heap, "threshold": {"value": threshold}}],
        }

    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {
                "name": heap,
                "typed_config": {
                    "@type": f"{TYPE}.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": MOST_HEAP,
                },
            },
            {
                "name": connections,
                "typed_config": {
                    "@type": f"{TYPE}.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": MOST_CONNECTIONS,
                },
            },
        ],
        "actions": [
            action("shrink_heap", 0.8),
            action("disable_http_keepalive", 0.85),
            action("stop_accepting_requests", 0.9),
            action("stop_accepting_connections", 0.95),
        ],
    }


def _stats() -> Config:
    """Enough to see rates, errors and latencies by cluster and listener; without it there are three times as many."""
    kept = (
        rf"http\.{STATS}\.downstream_(cx|rq)_.*",
        r"cluster\.(auth|catalog|sync|otlp)\.(upstream_(rq|cx)|membership|health_check|outlier_detection|circuit_br).*",
        r"(cluster_manager|listener\.(admin|.*8000)|server|overload|tracing)\..*",
        rf"http\.{STATS}\.(tracing|rq_total|no_route).*",
    )
    return {"inclusion_list": {"patterns": [{"safe_regex": {"regex": pattern}} for pattern in kept]}}
