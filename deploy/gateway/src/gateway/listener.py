"""Where clients connect: limits, addresses, request ids, the routes, and TLS if there is a certificate."""

from pathlib import Path

from gateway import filters, problems, routes, telemetry
from gateway.messages import EXTENSIONS, Config, set_header, socket_address
from gateway.settings import GatewaySettings

__all__ = ["network_filter", "public", "secrets"]


def public(settings: GatewaySettings, folder: Path) -> Config:
    chain: Config = {"filters": [network_filter(_connections(settings))]}
    if settings.tls:
        chain["transport_socket"] = _tls(folder)
    return {
        "name": "public",
        "address": socket_address(settings.host, settings.port),
        "per_connection_buffer_limit_bytes": 65536,
        "tcp_backlog_size": 4096,
        "connection_balance_config": {"exact_balance": {}},
        "filter_chains": [chain],
    }


def _connections(settings: GatewaySettings) -> Config:
    """The HTTP connection manager of the clients."""
    manager = {
        "stat_prefix": telemetry.PUBLIC,
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
                "@type": f"{EXTENSIONS}.request_id.uuid.v3.UuidRequestIdConfig",
                "pack_trace_reason": False,
                "use_request_id_for_trace_sampling": False,
            }
        },
        "local_reply_config": problems.local_replies(settings.origins),
        "access_log": [telemetry.access_log(settings)],
        "http_filters": filters.through(),
        "route_config": _route_config(),
    }
    return manager | ({"tracing": telemetry.tracing(settings)} if settings.otlp_endpoint else {})


def _route_config() -> Config:
    # The services get one address, the client's: Envoy has found it in the chain, by the number of trusted proxies.
    client = set_header("X-Forwarded-For", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")
    return {
        "name": "public",
        "virtual_hosts": [
            {
                "name": "products-api",
                "domains": ["*"],
                "routes": routes.routes(),
            }
        ],
        "request_headers_to_add": [client],
        "request_headers_to_remove": ["forwarded", "x-forwarded-host"],
        "response_headers_to_add": [set_header("X-Request-ID", "%REQ(X-REQUEST-ID)%")],
        "response_headers_to_remove": ["server", "via", "x-envoy-upstream-service-time"],
    }


def _tls(folder: Path) -> Config:
    """Certificate and key are read again when their folder changes, as a Secret's does when it is renewed."""
    secret = {"name": "server", "sds_config": {"path_config_source": {"path": str(folder / "tls.json")}}}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{EXTENSIONS}.transport_sockets.tls.v3.DownstreamTlsContext",
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
                "@type": f"{EXTENSIONS}.transport_sockets.tls.v3.Secret",
                "name": "server",
                "tls_certificate": {
                    "certificate_chain": {"filename": str(certificate)},
                    "private_key": {"filename": str(key)},
                    "watched_directory": {"path": str(certificate.parent)},
                },
            }
        ]
    }


def network_filter(manager: Config) -> Config:
    kind = f"{EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager"
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": {"@type": kind} | manager}
