"""Where the repository keeps what the stack runs."""

from pathlib import Path

__all__ = ["BOOTSTRAP_SQL", "CADDYFILE", "DUMMYJSON", "RELOAD", "ROOT", "service_dir"]

ROOT = Path(__file__).resolve().parents[4]
CADDYFILE = ROOT / "deploy" / "gateway" / "Caddyfile"
DUMMYJSON = ROOT / "deploy" / "dummyjson" / "server.py"
RELOAD = ROOT / "deploy" / "reload.py"
BOOTSTRAP_SQL = ROOT / "helm" / "products-api" / "files" / "bootstrap.sql"


def service_dir(service: str) -> Path:
    """The folder of a service, which holds its alembic.ini."""
    return ROOT / "services" / service
