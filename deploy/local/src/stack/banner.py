"""What is said when everything is ready."""

from typing import Any

from stack.plan import DEBUG_PORT, Plan
from stack.postgres import Postgres

__all__ = ["ready"]

TEXT = """
Products API is ready: {url}

{rows}
"""
BUNDLED = """from the bundled stand-in of DummyJSON (offline); the live ones:
EXTERNAL_API_URL=https://dummyjson.com/products make run"""
FAILED = "the first sync failed; the next is at {at}, then after growing pauses: make logs LOGS=sync"
ADMIN = """there is none yet; {policy}:
curl -X POST {url}/auth/register -H 'Content-Type: application/json' \\
  -d '{{"email":"admin@example.com","password":"choose a long one","role":"admin"}}'"""
POLICIES = {
    "first": "whoever registers as the first one becomes it",
    "open": "anybody can register as one (ADMIN_REGISTRATION=open)",
}
MAKE_ADMIN = "there is none yet: make admin EMAIL=you@example.com"


def ready(plan: Plan, *, background: bool, sync: dict[str, Any]) -> str:
    """The banner: where it is and its data, where products come from, how to become admin, how to stop.

    `sync` is what /sync/health tells.
    """
    url = plan.gateway_url.replace("127.0.0.1", "localhost")
    rows = {"docs": f"{url}/docs", "products": _products(plan, sync), "admin": _admin(plan, url), "data": _data(plan)}
    if plan.reload:
        rows["reload"] = "a process starts anew when its code is saved"
    if plan.reload and plan.settings.debug:
        rows["debugger"] = f"127.0.0.1:{DEBUG_PORT} for {plan.settings.debug}"
    rows["stop"] = "make stop   (logs: make logs, processes: make status)" if background else "Ctrl-C"
    return TEXT.format(url=url, rows="\n".join(_row(name, text) for name, text in rows.items() if text))


def _data(plan: Plan) -> str:
    folder = plan.run_dir.path
    if not isinstance(plan.postgres, Postgres):
        return f"PostgreSQL at {plan.postgres.place}; secrets and logs in {folder}"
    data = plan.postgres.data
    if data.is_relative_to(folder):
        return str(folder)
    elsewhere = f"{folder}\nPostgreSQL's in {data}, since its user `nobody` cannot enter {folder}"
    # Where release 0.1.0 put it.
    emptied = data.is_relative_to("/var/tmp")  # noqa: S108
    return elsewhere + ("\n(some systems empty /var/tmp: keep a copy)" if emptied else "")


def _products(plan: Plan, sync: dict[str, Any]) -> str:
    source = f"from {plan.settings.external_api_url}" if plan.settings.external_api_url else BUNDLED
    return f"{FAILED.format(at=at)}\n{source}" if (at := sync.get("retry_at")) else source


def _admin(plan: Plan, url: str) -> str | None:
    """How to make the first admin; nothing once there is one."""
    import psycopg

    with psycopg.connect(plan.postgres.url(), autocommit=True, connect_timeout=5) as connection:
        if connection.execute("SELECT FROM auth.users WHERE role = 'admin' LIMIT 1").fetchone() is not None:
            return None
    policy = POLICIES.get(plan.settings.environment.get("ADMIN_REGISTRATION") or "first")
    return ADMIN.format(url=url, policy=policy) if policy else MAKE_ADMIN


def _row(name: str, text: str) -> str:
    first, *others = text.splitlines()
    return "\n".join([f"  {name:<9} {first}", *(f"  {'':<9} {other}" for other in others)])
