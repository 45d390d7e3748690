"""Envoy's whole configuration, from the settings: `python -m gateway config` prints it.

All ways to run the product have the same one, but for the addresses of the services and what a setting names.
"""

from pathlib import Path

from gateway import clusters, filters, telemetry
from gateway.listener import network_filter, public
from gateway.messages import EXTENSIONS, Config, socket_address
from gateway.settings import GatewaySettings

__all__ = ["bootstrap"]

MOST_CONNECTIONS, MOST_OBSERVERS = 8192, 64
# It fits into the memory that a container has in the chart.
MOST_HEAP = 180 * 1024 * 1024


def bootstrap(settings: GatewaySettings, folder: Path) -> Config:
    """`folder` holds the socket of Envoy's administration, which nobody else may enter."""
    admin_socket = folder / "admin.sock"
    return {
        "node": {"id": "gateway", "cluster": "gateway"},
        "admin": {"address": {"pipe": {"path": str(admin_socket), "mode": 0o600}}},
        "static_resources": {
            "listeners": [public(settings, folder), _observed(settings)],
            "clusters": clusters.clusters(settings, admin_socket),
        },
        "overload_manager": _overload(),
        "stats_config": {"stats_matcher": telemetry.statistics()},
        "layered_runtime": {"layers": [{"name": "static", "static_layer": _RUNTIME}]},
        **telemetry.application_log(settings),
    }


_RUNTIME = {
    # The pattern for long URLs is long, and still takes a step for each character.
    "re2.max_program_size.error_level": 20_000,
    "envoy.resource_limits.listener.public.connection_limit": MOST_CONNECTIONS,
    "envoy.resource_limits.listener.observed.connection_limit": MOST_OBSERVERS,
}


def _observed(settings: GatewaySettings) -> Config:
    """/metrics for Prometheus, /health and /livez for probes; nothing else of Envoy's administration."""
    route: list[Config] = [
        {"match": {"path": path}, "route": {"cluster": clusters.ADMIN, "prefix_rewrite": target}}
        for path, target in {"/metrics": "/stats/prometheus", "/health": "/ready"}.items()
    ]
    alive = {"status": 200, "body": {"inline_string": '{"status":"ok"}'}}
    route.append({"match": {"path": "/livez"}, "direct_response": alive})
    manager = {
        "stat_prefix": "observed",
        "codec_type": "HTTP1",
        "server_header_transformation": "PASS_THROUGH",
        "request_headers_timeout": "10s",
        "stream_idle_timeout": "10s",
        "generate_request_id": False,
        "http_filters": [filters.router()],
        "route_config": {"virtual_hosts": [{"name": "observed", "domains": ["*"], "routes": route}]},
    }
    return {
        "name": "observed",
        "address": socket_address(settings.host, settings.metrics_port),
        "ignore_global_conn_limit": True,
        "filter_chains": [{"filters": [network_filter(manager)]}],
    }


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
                    "@type": f"{EXTENSIONS}.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": MOST_HEAP,
                },
            },
            {
                "name": connections,
                "typed_config": {
                    "@type": f"{EXTENSIONS}.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
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
