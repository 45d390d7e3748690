"""Writes what is said about settings from their declarations: `python -m tools.settings`.

.env.example and docs/settings.md have each setting once. A setting is a field with a description: of a service's
settings, of the launcher's, of the gateway's that users give, or of what docker-compose.yml alone reads.
"""

import dataclasses
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, Field, SecretStr, TypeAdapter
from pydantic_core import PydanticUndefined

from common.settings import ServiceSettings
from stack.servers.gateway import SHARED as LAUNCHED_GATEWAY
from stack.services import SETTINGS as SERVICES
from stack.settings import Settings as LauncherSettings

__all__ = [
    "COMPOSE_PASSWORDS",
    "EXAMPLE",
    "PAGE",
    "SERVICES",
    "GatewaySettings",
    "Setting",
    "declared",
    "example",
    "groups",
    "page",
]

ROOT = Path(__file__).parents[1]
EXAMPLE, PAGE = ROOT / ".env.example", ROOT / "docs/settings.md"
COMPOSE = (ROOT / "docker-compose.yml").read_text("utf-8")
EXAMPLE_HEAD = """\
# Every setting, with its default. Nothing here is needed: copy the file to .env and change what you like.
# `make run` and docker compose read .env; on Kubernetes the chart sets the same names.
# A value of the environment wins over .env; an empty one is the default.
# Written by `make settings` from the declarations in the code.
"""
PAGE_HEAD = """\
# Settings

Written by `make settings` from the declarations in the code.

Settings are environment variables with the same names in `make`, docker compose and the chart, where they are in
`global.settings` and in the `settings` of each service. `make run` and docker compose also read a file `.env`, which
may be a copy of `.env.example`. A value of the environment wins over one in the file, and an empty one is the default.
"""


class GatewaySettings(BaseModel):
    """What users give the gateway alone; what it shares with the services is declared there."""

    trusted_proxy_hops: int = Field(
        0,
        ge=0,
        le=8,
        description="How many proxies stand between clients and the gateway, each of which appends an address to "
        "`X-Forwarded-For`: the client's is at this place from the right. 0: the header is not believed. Services get "
        "1 from the gateway, whatever this is.",
        json_schema_extra={"unit": "proxies"},
    )
    tls_certificate: str = Field(
        "",
        description="The file of a certificate chain (PEM), with which the gateway speaks HTTPS and HTTP/2 instead of "
        "plain HTTP. User 65532 must be able to read this and the next.",
    )
    tls_key: str = Field("", description="The file of its private key.")


class Setting(NamedTuple):
    """An environment variable; `default` is None where there is none, `schema` the JSON Schema of its field."""

    name: str
    default: str | None
    schema: Mapping[str, Any]

    @property
    def example(self) -> str:
        """Its value in .env.example."""
        return str(self.schema.get("example", self.default or ""))

    @property
    def values(self) -> list[str]:
        """What it may be, or its limits and unit."""
        if "enum" in self.schema:
            return list(self.schema["enum"])
        least, most = self.schema.get("minimum"), self.schema.get("maximum")
        limits = f"{least} to {most}" if most is not None else f"at least {least}" if least is not None else ""
        return list(filter(None, [f"{limits} {self.schema.get('unit', '')}".strip()]))

    @property
    def limits(self) -> dict[str, Any]:
        """The schema of its value in the chart."""
        if self.schema.get("format") == "uri":
            return {"$ref": "#/$defs/httpUrl"}
        if "enum" in self.schema:
            return {"enum": self.schema["enum"]}
        kept = {key: self.schema[key] for key in ("minimum", "maximum", "pattern") if key in self.schema}
        return {"type": self.schema["type"] if kept.keys() & {"minimum", "maximum"} else "string"} | kept

    @property
    def readers(self) -> str:
        """What reads it."""
        of_gateway = self.name in {setting.name for setting in declared(GatewaySettings)}
        services = [] if of_gateway else [it for it, kind in SERVICES.items() if self.name.lower() in kind.model_fields]
        found = ["all services"] if len(services) == len(SERVICES) else services
        launched = LAUNCHED_GATEWAY if of_gateway else [setting.name for setting in declared(LauncherSettings)]
        found += ["`make run`"] if self.name in launched else []
        # Asked for in a value, or passed on as it is.
        composed = "${" + self.name in COMPOSE or (of_gateway and f"\n      {self.name}:\n" in COMPOSE)
        return ", ".join([*found, *(["docker compose"] if composed else [])])


# What docker-compose.yml alone reads.
COMPOSE_PASSWORDS = [
    Setting(name, "", {"description": description})
    for name, description in {
        "POSTGRES_PASSWORD": "PostgreSQL's superuser. This and the next are letters and digits; PostgreSQL takes them "
        "when its volume is made.",
        **{f"{service.upper()}_DB_PASSWORD": f"The role of {service}." for service in SERVICES},
        "REDIS_PASSWORD": "Redis.",
    }.items()
]


def declared(kind: type[Any]) -> list[Setting]:
    """The fields of `kind` that have a description, in their order."""
    fields: Iterable[Any] = kind.model_fields.values() if issubclass(kind, BaseModel) else dataclasses.fields(kind)
    properties = TypeAdapter(kind).json_schema()["properties"]
    return [
        Setting(name, _text(schema["default"] if "names" in schema else field.default), schema)
        for field, (key, schema) in zip(fields, properties.items(), strict=True)
        if "description" in schema
        for name in schema.get("names", [key.upper()])
    ]


def _text(default: Any) -> str | None:
    if default is PydanticUndefined:
        return None
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    return str(default) if isinstance(default, str | int | float | Path) else ""


def groups() -> Iterator[tuple[str, list[Setting]]]:
    """All settings, each once, under titles."""
    launcher = declared(LauncherSettings)
    gateway = declared(GatewaySettings)
    known = {setting.name for setting in (*launcher, *gateway)}
    yield "Local stack", launcher
    yield "Gateway", gateway
    wired: list[Setting] = []
    kinds: dict[str, type[ServiceSettings]] = {"Every service": ServiceSettings, **SERVICES}
    for title, kind in kinds.items():
        new = [setting for setting in declared(kind) if setting.name not in known]
        known |= {setting.name for setting in new}
        wired += [setting for setting in new if setting.schema.get("wired")]
        if own := [setting for setting in new if setting not in wired]:
            yield title, own
    yield "Passwords of docker compose", COMPOSE_PASSWORDS
    yield "Set for each process by make, docker compose and the chart", wired


def example() -> str:
    """.env.example."""
    lines = [EXAMPLE_HEAD]
    for title, settings in groups():
        lines.append(f"# --- {title} ---")
        for setting in settings:
            values = f" ({', '.join(setting.values)})" if setting.values else ""
            text = f"{setting.schema['description']}{values}"
            lines += textwrap.wrap(text, 118, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
            lines.append(f"{setting.name}={setting.example}")
        lines.append("")
    return "\n".join(lines)


def page() -> str:
    """docs/settings.md."""
    lines = [PAGE_HEAD]
    for title, settings in groups():
        lines += [f"## {title}", "", "| setting | default | values | read by | meaning |", "|---|---|---|---|---|"]
        for setting in settings:
            default = "required" if setting.default is None else setting.default and f"`{setting.default}`"
            values, meaning = ", ".join(setting.values), setting.schema["description"].replace("<", "&lt;")
            lines.append(f"| `{setting.name}` | {default} | {values} | {setting.readers} | {meaning} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    for file, text in ((EXAMPLE, example()), (PAGE, page())):
        file.write_text(text, "utf-8")
        print(f"wrote {file}")


if __name__ == "__main__":
    main()
