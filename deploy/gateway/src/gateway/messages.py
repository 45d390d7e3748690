"""What several parts of Envoy's configuration are made of."""

from typing import Any

__all__ = ["EXTENSIONS", "Config", "set_header", "socket_address"]

Config = dict[str, Any]
"""A message of Envoy's API, as JSON."""
EXTENSIONS = "type.googleapis.com/envoy.extensions"


def set_header(name: str, value: str) -> Config:
    """In place of what is there."""
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def socket_address(host: str, port: int) -> Config:
    return {"socket_address": {"address": host, "port_value": port}}
