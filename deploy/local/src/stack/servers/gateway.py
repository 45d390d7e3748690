"""The gateway: Envoy from a wheel, with the configuration that docker compose and the chart use too."""

import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from stack.errors import StackError
from stack.ports import HOST
from stack.specs import ProcessSpec, Stage

__all__ = ["spec"]

# Of the user's settings these are the gateway's too.
SHARED = (
    "BACKEND_CORS_ORIGINS",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_TRACES_SAMPLER_ARG",
    "TRUSTED_PROXY_HOPS",
    "TMPDIR",
    "PATH",
    "PYTHONPATH",
)


def spec(
    port: int,
    metrics_port: int,
    upstreams: Mapping[str, Sequence[int]],
    *,
    pretty: bool,
    environment: Mapping[str, str],
) -> ProcessSpec:
    """`upstreams` holds the ports of each service. Raises StackError where there is no Envoy."""
    if find_spec("envoy") is None:
        raise StackError("there is no Envoy for this platform; use docker compose instead: make up")
    addresses = {
        f"{service.upper()}_UPSTREAMS": " ".join(f"{HOST}:{upstream}" for upstream in ports)
        for service, ports in upstreams.items()
    }
    own = {
        "HOST": HOST,
        "PORT": str(port),
        "METRICS_PORT": str(metrics_port),
        "LOG_FORMAT": "pretty" if pretty else "json",
        "DRAIN_SECONDS": "0",
        "PYTHONUNBUFFERED": "1",
    }
    metrics = f"http://{HOST}:{metrics_port}"
    return ProcessSpec(
        name="gateway",
        argv=[sys.executable, "-m", "gateway", "serve"],
        env={name: environment[name] for name in SHARED if environment.get(name)} | own | addresses,
        stage=Stage.GATEWAY,
        url=f"http://{HOST}:{port}",
        metrics_url=f"{metrics}/metrics",
        health_url=f"{metrics}/health",
        grace=2.0,
    )
