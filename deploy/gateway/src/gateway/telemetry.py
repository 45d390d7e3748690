"""What the gateway tells of itself: log lines, spans, and which of Envoy's statistics are kept."""

from gateway import clusters, problems
from gateway.messages import EXTENSIONS, Config
from gateway.routes import SERVICES
from gateway.settings import GatewaySettings

__all__ = ["PUBLIC", "access_log", "application_log", "statistics", "tracing"]

PUBLIC = "gateway"
"""The name of the clients' connections in Envoy's statistics."""
_LOG_LINE = {"time": "%Y-%m-%dT%H:%M:%S.%e+00:00", "level": "%l", "service": "gateway", "logger": "%n", "message": "%j"}


def application_log(settings: GatewaySettings) -> Config:
    """Of Envoy's own lines, for the bootstrap."""
    return {"application_log_config": {"log_format": {"json_format": _LOG_LINE}}} if _is_json(settings) else {}


def _is_json(settings: GatewaySettings) -> bool:
    return settings.log_format == "json"


def access_log(settings: GatewaySettings) -> Config:
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
                    "@type": f"{EXTENSIONS}.access_loggers.filters.cel.v3.ExpressionFilter",
                    "expression": "response.code_details != 'via_upstream'",
                },
            }
        },
        "typed_config": {"@type": f"{EXTENSIONS}.access_loggers.stream.v3.StdoutAccessLog", "log_format": form},
    }


def tracing(settings: GatewaySettings) -> Config:
    assert settings.otlp_endpoint is not None
    exporter = {
        "http_uri": {"uri": f"{settings.otlp_endpoint}/v1/traces", "cluster": clusters.OTLP, "timeout": "5s"},
    }
    return {
        "random_sampling": {"value": settings.sampled * 100},
        "operation": "%REQ(:METHOD):20% %PATH(NQ):200%",
        # In place of the one with the query string, which may hold what nobody else should read.
        "custom_tags": [{"tag": "http.url", "value": "%REQ(:SCHEME)%://%REQ(:AUTHORITY):200%%PATH(NQ):1000%"}],
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                "service_name": "gateway",
                "http_service": exporter,
            },
        },
    }


def statistics() -> Config:
    """Enough to see rates, errors and latencies by cluster and listener; without it there are three times as many."""
    names = "|".join(sorted(service.name for service in SERVICES))
    kept = (
        rf"http\.{PUBLIC}\.downstream_(cx|rq)_.*",
        rf"cluster\.({names}|otlp)\.(upstream_(rq|cx)|membership|health_check|outlier_detection|circuit_br).*",
        r"(cluster_manager|listener\.(admin|.*8000)|server|overload|tracing)\..*",
        rf"http\.{PUBLIC}\.(tracing|rq_total|no_route).*",
    )
    return {"inclusion_list": {"patterns": [{"safe_regex": {"regex": pattern}} for pattern in kept]}}
