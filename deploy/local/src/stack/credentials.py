"""Passwords and keys of one stack: random, made at the first start, kept in a private file."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields

from stack.run_dir import RunDir, read_json, write_json
from stack.services import SERVICES

__all__ = ["Credentials", "load"]


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """`postgres` is the password of the superuser; `roles` has that of each service's role."""

    postgres: str
    roles: Mapping[str, str]
    valkey: str
    secret_key: str
    sync_client_secret: str


def load(run_dir: RunDir, environment: Mapping[str, str] | None = None) -> Credentials:
    """Read the secrets and make those that are missing; SECRET_KEY and SYNC_CLIENT_SECRET of `environment` win."""
    own = [field.name for field in fields(Credentials) if field.name != "roles"]
    stored = read_json(run_dir.secrets_file) or {}
    kept = {name: stored.get(name) or secrets.token_urlsafe(36) for name in (*own, *SERVICES)}
    if kept != stored:
        write_json(run_dir.secrets_file, kept)
    given = environment or {}
    wins = {name: given[name.upper()] for name in ("secret_key", "sync_client_secret") if given.get(name.upper())}
    return Credentials(roles={name: kept[name] for name in SERVICES}, **{name: (kept | wins)[name] for name in own})
