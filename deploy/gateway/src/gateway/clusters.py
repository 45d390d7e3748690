"""The servers behind the gateway: how their addresses are found, checked, shared and given up."""

import ssl
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from gateway.messages import EXTENSIONS, Config, socket_address
from gateway.settings import Address, GatewaySettings

__all__ = ["ADMIN", "OTLP", "clusters"]

ADMIN, OTLP = "admin", "otlp"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# As many requests as a process of a service takes at once; more get a 503 here instead of a place in a queue.
MOST_REQUESTS = 512


def clusters(settings: GatewaySettings, admin_socket: Path) -> list[Config]:
    return [
        *(_checked(service, addresses) for service, addresses in settings.upstreams.items()),
        *(_service(f"{service}-health", addresses) for service, addresses in settings.upstreams.items()),
        {
            "name": ADMIN,
            "type": "STATIC",
            "load_assignment": _endpoints(ADMIN, [{"pipe": {"path": str(admin_socket)}}]),
        },
        *([_otlp(settings.otlp_endpoint)] if settings.otlp_endpoint else []),
    ]


def _checked(service: str, addresses: Sequence[Address]) -> Config:
    """Only ready processes get requests: a 503 takes one out at once, two checks without an answer do, too."""
    check = {
        "timeout": "2s",
        "interval": "0.5s",
        "no_traffic_interval": "0.5s",
        "initial_jitter": "0.1s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "reuse_connection": True,
        "http_health_check": {"path": "/health", "host": service},
    }
    outliers = {
        # Addresses that refuse or reset connections. What a service answers is no reason: a check says what it can.
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 3,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_local_origin_success_rate": 0,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "interval": "1s",
        "base_ejection_time": "2s",
        "max_ejection_time": "10s",
        # Never the only one.
        "max_ejection_percent": 50,
    }
    return _service(service, addresses) | {
        "health_checks": [check],
        "outlier_detection": outliers,
        # None is better than one that is not ready.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "ignore_health_on_host_removal": True,
    }


def _service(name: str, addresses: Sequence[Address]) -> Config:
    threshold = {
        "max_connections": MOST_REQUESTS,
        "max_pending_requests": MOST_REQUESTS,
        "max_requests": MOST_REQUESTS,
        "retry_budget": {"budget_percent": {"value": 20}, "min_retry_concurrency": 16},
    }
    return {
        "name": name,
        **_discovery(addresses),
        "lb_policy": "LEAST_REQUEST",
        # All are near: one that does not answer by then has gone, and another is tried.
        "connect_timeout": "0.25s",
        "circuit_breakers": {"thresholds": [threshold]},
        "per_connection_buffer_limit_bytes": 65536,
        "load_assignment": _endpoints(name, (socket_address(it.host, it.port) for it in addresses)),
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http_protocol_options": {}},
                # Below the 75 s of the services, so that nothing is written into a connection they just closed.
                "common_http_protocol_options": {"idle_timeout": "30s"},
            }
        },
    }


def _discovery(addresses: Iterable[Address]) -> Config:
    if all(_is_ip_address(address.host) for address in addresses):
        return {"type": "STATIC"}
    # A name stands for the addresses of all replicas; it is looked up so often that a new one is soon used.
    lookups = {
        "@type": f"{EXTENSIONS}.clusters.dns.v3.DnsCluster",
        "dns_lookup_family": "V4_PREFERRED",
        "dns_refresh_rate": "1s",
        "dns_failure_refresh_rate": {"base_interval": "0.5s", "max_interval": "1s"},
        "respect_dns_ttl": False,
    }
    return {"cluster_type": {"name": "envoy.clusters.dns", "typed_config": lookups}}


def _is_ip_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _otlp(endpoint: str) -> Config:
    parts = urlsplit(endpoint)
    secure = parts.scheme == "https"
    assert parts.hostname is not None
    address = Address(parts.hostname, parts.port or (443 if secure else 80))
    tls = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{EXTENSIONS}.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": address.host,
            "common_tls_context": {
                "validation_context": {
                    "trusted_ca": {"filename": ssl.get_default_verify_paths().cafile or CERTIFICATES},
                    "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": address.host}}],
                }
            },
        },
    }
    return {
        "name": OTLP,
        **_discovery([address]),
        "connect_timeout": "1s",
        "load_assignment": _endpoints(OTLP, [socket_address(address.host, address.port)]),
        **({"transport_socket": tls} if secure else {}),
    }


def _endpoints(name: str, addresses: Iterable[Config]) -> Config:
    endpoints = [{"endpoint": {"address": address}} for address in addresses]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}
