"""What `python -m stack` reads from the environment and from .env."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, JsonValue

from stack.errors import StackError
from stack.services import PROGRAMS
from stack.specs import Stage

__all__ = ["REPLICAS", "REPLICATED", "Settings", "load"]

REPLICATED = tuple(PROGRAMS)
REPLICAS: list[JsonValue] = [f"REPLICAS_{name.upper().replace('-', '_')}" for name in REPLICATED]
LAST_PORT = 65535
MOST_REPLICAS = 16


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The launcher's own settings; everything else in `environment` goes to the services as it is."""

    port: Annotated[
        int,
        Field(
            description="The port of the gateway on 127.0.0.1, the only one that is opened.",
            ge=0,
            le=LAST_PORT,
        ),
    ] = 8000
    run_dir: Annotated[
        Path, Field(description="The folder in which `make run` keeps its data, logs and generated secrets.")
    ] = Path(".run")
    replicas: Annotated[
        Mapping[str, int],
        Field(
            description="The number of processes of this kind, at most 16.",
            json_schema_extra={"names": REPLICAS, "default": 1},
        ),
    ]
    external_api_url: str | None
    postgres_url: Annotated[
        str | None,
        Field(
            description="A PostgreSQL of your own for `make run` and `make dev`: the URL of an owner or superuser of a "
            "database that exists, where roles and schemas are made; empty: the embedded one. `REDIS_URL` likewise."
        ),
    ] = None
    redis_url: str | None
    debug: Annotated[
        str | None,
        Field(
            description="With `make dev` the process that a debugger may attach to, at port 5678: "
            f"{', '.join(REPLICATED)}."
        ),
    ] = None
    log_format: str
    environment: Mapping[str, str]


def load(environ: Mapping[str, str] | None = None, dotenv: Path | None = None) -> Settings:
    """Read the settings; a variable of the environment wins over the same one in .env."""
    merged = _dotenv(dotenv or Path(".env")) | dict(os.environ if environ is None else environ)
    return Settings(
        port=_number(merged, "PORT", Settings.port, 0, LAST_PORT),
        run_dir=Path(merged.get("RUN_DIR") or Settings.run_dir).expanduser().absolute(),
        replicas={name: _replicas(merged, name) for name in REPLICATED},
        external_api_url=merged.get("EXTERNAL_API_URL") or None,
        postgres_url=_url(merged, "POSTGRES_URL", "postgresql", "postgres", "postgresql+psycopg"),
        redis_url=_url(merged, "REDIS_URL", "redis", "rediss"),
        debug=_debug(merged.get("DEBUG")),
        log_format=(merged.get("LOG_FORMAT") or "auto").lower(),
        environment=merged,
    )


def _url(values: Mapping[str, str], name: str, *schemes: str) -> str | None:
    """The URL of a server that the user brings; never printed, since it may hold a password."""
    url = values.get(name) or None
    if url is not None and (urlsplit(url).scheme not in schemes or not urlsplit(url).hostname):
        raise StackError(f"{name} must be a {schemes[0]}:// URL with a host")
    return url


def _debug(name: str | None) -> str | None:
    if name and name not in REPLICATED:
        raise StackError(f"DEBUG must be one of {', '.join(REPLICATED)}, not {name!r}")
    return name or None


def _dotenv(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    from dotenv import dotenv_values  # imported only where there is a .env

    return {name: value for name, value in dotenv_values(file).items() if value}


def _replicas(values: Mapping[str, str], name: str) -> int:
    # The gateway needs an upstream of each API; background work may be left out.
    least = 1 if PROGRAMS[name].stage is Stage.API else 0
    return _number(values, "REPLICAS_" + name.upper().replace("-", "_"), 1, least, MOST_REPLICAS)


def _number(values: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = values.get(name) or str(default)
    if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
        raise StackError(f"{name} must be a whole number from {least} to {most}, not {text!r}")
    return int(text)
