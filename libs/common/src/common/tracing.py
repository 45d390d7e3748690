"""OpenTelemetry, imported only when OTEL_EXPORTER_OTLP_ENDPOINT is set, so that it costs nothing when it is not."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Thread
from typing import Any

from common.settings import ServiceSettings
from common.urls import without_secrets

__all__ = [
    "current_span", "current_traceparent", "fail_span", "fastapi_telemetry", "flush", "group_span",
    "instrument_connection", "name_request", "setup", "span", "trace_id",
]  # fmt: skip

FLUSH_SECONDS = 2.0
_provider: Any = None


def setup(settings: ServiceSettings, service: str) -> None:
    """Export spans of HTTP, SQL, Redis and outbound calls as `products-<service>` by OTLP over HTTP.

    Call it once per process, and anew in a forked one: exporter threads do not survive a fork.
    """
    global _provider
    if not settings.otel_exporter_otlp_endpoint:
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.instrumentation.redis import RedisInstrumentor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    endpoint = settings.otel_exporter_otlp_endpoint.rstrip("/")
    endpoint = endpoint if endpoint.endswith("/v1/traces") else f"{endpoint}/v1/traces"
    resource = Resource.create({"service.name": f"products-{service}"})
    sampler = ParentBasedTraceIdRatio(settings.otel_traces_sampler_arg)
    # At exit it would try once more, without an end.
    _provider = TracerProvider(sampler, resource, shutdown_on_exit=False)
    _provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=3), schedule_delay_millis=1000)
    )
    trace.set_tracer_provider(_provider)
    HTTPXClientInstrumentor().instrument(tracer_provider=_provider, async_request_hook=_hide_secrets)
    RedisInstrumentor().instrument(tracer_provider=_provider)


async def _hide_secrets(span: Any, _: Any) -> None:
    """The address of a source may carry a key in its query; the instrumentation records it whole."""
    for name in ("http.url", "url.full"):
        if span.is_recording() and (url := span.attributes.get(name)):
            span.set_attribute(name, without_secrets(url))


def flush() -> None:
    """Deliver finished spans, if the collector takes them within 2 s; the last step before a process ends."""
    if _provider is not None:
        # The SDK's own time limit is not kept.
        flushing = Thread(target=_provider.force_flush, name="flush", daemon=True)
        flushing.start()
        flushing.join(FLUSH_SECONDS)


def fastapi_telemetry() -> dict[str, Any]:
    """FastAPI's own telemetry: a server span for each request, named by its route, when tracing is on."""
    return {
        "tracing": _provider is not None,
        "tracer_provider": _provider,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "auto_configure": False,
        "exclude": lambda scope: scope["path"].endswith(("/health", "/livez")),
    }


async def instrument_connection(connection: Any) -> None:
    """Give each statement on this psycopg connection a span."""
    if _provider is None:
        return
    from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor

    PsycopgInstrumentor.instrument_connection(connection, tracer_provider=_provider)


def current_traceparent() -> str | None:
    """The W3C traceparent to hand to work that continues elsewhere (a job); None when tracing is off."""
    if _provider is None:
        return None
    from opentelemetry.propagate import inject

    carrier: dict[str, str] = {}
    inject(carrier)
    return carrier.get("traceparent")


def trace_id() -> str | None:
    """The current trace's id for the logs; None outside a trace."""
    if _provider is None:
        return None
    from opentelemetry import trace

    span_context = trace.get_current_span().get_span_context()
    return f"{span_context.trace_id:032x}" if span_context.is_valid else None


@contextmanager
def span(name: str, *, traceparent: str | None = None, **attributes: str) -> Iterator[None]:
    """A span around the block, as the child of `traceparent` when one is given."""
    if _provider is None:
        yield
        return
    from opentelemetry.propagate import extract

    parent = extract({"traceparent": traceparent}) if traceparent else None
    tracer = _provider.get_tracer("products")
    with tracer.start_as_current_span(name, context=parent, attributes=attributes):
        yield


def fail_span(why: str) -> None:
    """Mark the span at hand as failed, for work whose error is not raised."""
    if _provider is not None:
        from opentelemetry.trace import StatusCode

        current_span().set_status(StatusCode.ERROR, why)


def current_span() -> Any:
    """The span of the request at hand, for `group_span`; None when tracing is off."""
    if _provider is None:
        return None
    from opentelemetry import trace

    return trace.get_current_span()


@contextmanager
def group_span(name: str, members: Sequence[Any]) -> Iterator[None]:
    """A span around work that is done for several requests at once: each of their spans links to it."""
    if _provider is None:
        yield
        return
    with _provider.get_tracer("products").start_as_current_span(name) as group:
        for member in members:
            member.add_link(group.get_span_context())
        yield


def name_request(route: str) -> None:
    """Name the request's span after its route, for an answer that FastAPI's router has no part in."""
    if _provider is not None:
        span = current_span()
        span.update_name(f"GET {route}")
        span.set_attribute("http.route", route)
