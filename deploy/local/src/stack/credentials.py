"""Passwords and keys of one stack: random, made at the first start, kept in a private file."""

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from stack.run_dir import RunDir, read_json, write_json

__all__ = ["Credentials", "load"]


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """`postgres` is the password of the superuser; `auth`, `catalog` and `sync` are those of the roles."""

    postgres: str
    auth: str
    catalog: str
    sync: str
    valkey: str
    secret_key: str
    sync_client_secret: str


def load(run_dir: RunDir, environment: Mapping[str, str] | None = None) -> Credentials:
    """Read the secrets and make those that are missing; SECRET_KEY and SYNC_CLIENT_SECRET of `environment` win."""
    names = [field.name for field in fields(Credentials)]
    stored = read_json(run_dir.secrets_file) or {}
    kept = Credentials(**{name: stored.get(name) or secrets.token_urlsafe(36) for name in names})
    if asdict(kept) != stored:
        write_json(run_dir.secrets_file, asdict(kept))
    given = environment or {}
    own = {name: given[name.upper()] for name in ("secret_key", "sync_client_secret") if given.get(name.upper())}
    return Credentials(**(asdict(kept) | own))
