"""What the gateway reads from the environment, with the names that the services have."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from gateway.routes import SERVICES

__all__ = ["Address", "GatewaySettings", "SettingsError", "load"]

T = TypeVar("T")
LOG_LEVELS = ("debug", "info", "warning", "error")


class SettingsError(Exception):
    """Settings that cannot be used, a line each. It has their names, never their values."""


@dataclass(frozen=True)
class Address:
    """A host name or IP address, all of whose addresses count, and a port."""

    host: str
    port: int


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """`upstreams` has the addresses of each service. Without `tls` (certificate, key) it speaks plain HTTP.

    TRUSTED_PROXY_HOPS is how many proxies stand before it, of which each adds an address to X-Forwarded-For; with 0
    its peer is the client, whatever the header says.
    """

    host: str
    port: int
    metrics_port: int
    upstreams: Mapping[str, tuple[Address, ...]]
    origins: tuple[str, ...]
    trusted_proxy_hops: int
    drain_seconds: float
    log_level: str
    log_format: Literal["json", "pretty"]
    otlp_endpoint: str | None
    sampled: float
    tls: tuple[Path, Path] | None


def load(environ: Mapping[str, str]) -> GatewaySettings:
    """Raises SettingsError, which has all that is wrong."""
    faults: list[str] = []

    def read(name: str, default: str, parse: Callable[[str], T]) -> T:
        try:
            return parse(environ.get(name) or default)
        except ValueError as error:
            faults.append(f"{name}: {error}")
            return parse(default)

    services = sorted(SERVICES, key=lambda it: it.name)
    settings = GatewaySettings(
        host=read("HOST", "127.0.0.1", str),
        port=read("PORT", "8000", _whole(0, 65535)),
        metrics_port=read("METRICS_PORT", "9100", _whole(0, 65535)),
        upstreams={it.name: read(f"{it.name.upper()}_UPSTREAMS", it.upstream, _addresses) for it in services},
        origins=read("BACKEND_CORS_ORIGINS", "", _origins),
        trusted_proxy_hops=read("TRUSTED_PROXY_HOPS", "0", _whole(0, 8)),
        drain_seconds=read("DRAIN_SECONDS", "0", _number(0, 60)),
        log_level=read("LOG_LEVEL", "info", _one_of(*LOG_LEVELS)),
        log_format="pretty" if read("LOG_FORMAT", "json", _one_of("auto", "json", "pretty")) == "pretty" else "json",
        otlp_endpoint=read("OTEL_EXPORTER_OTLP_ENDPOINT", "", _endpoint),
        sampled=read("OTEL_TRACES_SAMPLER_ARG", "1", _number(0, 1)),
        tls=_tls(environ, faults),
    )
    if faults:
        raise SettingsError("\n".join(["these settings are not valid:", *(f"  {fault}" for fault in faults)]))
    return settings


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and least <= int(text) <= most):
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return parse


def _number(least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not least <= number <= most:
            raise ValueError(f"must be a number from {least} to {most}")
        return number

    return parse


def _one_of(*values: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in values:
            raise ValueError(f"must be one of {', '.join(values)}")
        return text.lower()

    return parse


def _addresses(text: str) -> tuple[Address, ...]:
    found = []
    for part in text.replace(",", " ").split():
        host, _, port = part.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) <= 65535:
            raise ValueError("must be addresses like catalog:8000, separated by spaces")
        found.append(Address(host.strip("[]"), int(port)))
    return tuple(found)


def _origins(text: str) -> tuple[str, ...]:
    """As the services read it: separated by commas, or a JSON list."""
    if text.strip().startswith("["):
        try:
            values = json.loads(text)
        except ValueError:
            raise ValueError("is not a JSON list") from None
    else:
        values = text.split(",")
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError("must be origins separated by commas, or a JSON list of them")
    return tuple(value.strip().rstrip("/") for value in values if value.strip())


def _endpoint(text: str) -> str | None:
    parts = urlsplit(text)
    if text and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise ValueError("must be an http:// or https:// URL")
    return text.rstrip("/") or None


def _tls(environ: Mapping[str, str], faults: list[str]) -> tuple[Path, Path] | None:
    names = ("TLS_CERTIFICATE", "TLS_KEY")
    given = [Path(environ[name]) for name in names if environ.get(name)]
    if len(given) == 1:
        faults.append(f"{' and '.join(names)}: only one of them is set")
    faults += [f"{name}: this file cannot be read" for name in names if _is_unreadable(environ.get(name))]
    return (given[0], given[1]) if len(given) == len(names) else None


def _is_unreadable(path: str | None) -> bool:
    try:
        if path:
            Path(path).read_bytes()
    except OSError:
        return True
    return False
