"""What users are told about a stack: the banner when it is ready, the table of its processes, where its data is."""

from pathlib import Path
from typing import Any

import psutil

from common.urls import without_secrets
from stack.errors import StackError
from stack.plan import DEBUG_PORT, Plan
from stack.run_dir import RunDir
from stack.servers.postgres import PostgresServer
from stack.servers.postgres_install import bound_home
from stack.state import read_pids, read_stack

__all__ = ["NOT_RUNNING", "banner", "data_folders", "products_row", "show"]

NOT_RUNNING = 3
MEGABYTE = 1024 * 1024
ROW = "{:<18} {:>8}  {:<11} {:>7}  {}"
BANNER = """
Products API is ready: {url}

{rows}
"""
BUNDLED = """from the bundled stand-in for DummyJSON (offline); the live ones:
EXTERNAL_API_URL=https://dummyjson.com/products make run"""
SYNC_FAILED = "the first sync failed; it is tried again at {at}, then after growing pauses: make logs LOGS=sync"
REGISTER_ADMIN = """there is none yet; {policy}:
curl -X POST {url}/auth/register -H 'Content-Type: application/json' \\
  -d '{{"email":"admin@example.com","password":"choose a long one","role":"admin"}}'"""
MAKE_ADMIN = "there is none yet: make admin EMAIL=you@example.com"
POLICIES = {
    "first": "the first account that is registered with this role becomes one",
    "open": "anybody can register as one (ADMIN_REGISTRATION=open)",
}


def banner(plan: Plan, *, background: bool, sync: dict[str, Any]) -> str:
    """Where the stack and its data are, where products come from, how to become admin, how to stop.

    `sync` is what /sync/health answers.
    """
    url = plan.gateway_url.replace("127.0.0.1", "localhost")
    rows = {
        "docs": f"{url}/docs",
        "products": products_row(plan, sync),
        "admin": _admin_row(plan, url),
        "data": _data_row(plan),
        "reload": "a process restarts when its code is saved" if plan.reload else None,
        "debugger": f"127.0.0.1:{DEBUG_PORT} for {plan.settings.debug}"
        if plan.reload and plan.settings.debug
        else None,
        "stop": "make stop   (logs: make logs, processes: make status)" if background else "Ctrl-C",
    }
    return BANNER.format(url=url, rows="\n".join(_row(name, text) for name, text in rows.items() if text))


def products_row(plan: Plan, sync: dict[str, Any]) -> str:
    url = plan.settings.external_api_url
    source = f"from {without_secrets(url)}" if url else BUNDLED
    return f"{SYNC_FAILED.format(at=at)}\n{source}" if (at := sync.get("retry_at")) else source


def _admin_row(plan: Plan, url: str) -> str | None:
    """How to make the first admin; None once there is one."""
    import psycopg

    with psycopg.connect(plan.postgres.url(), autocommit=True, connect_timeout=5) as connection:
        if connection.execute("SELECT FROM auth.users WHERE role = 'admin' LIMIT 1").fetchone() is not None:
            return None
    policy = POLICIES.get(plan.settings.environment.get("ADMIN_REGISTRATION") or "first")
    return REGISTER_ADMIN.format(url=url, policy=policy) if policy else MAKE_ADMIN


def _data_row(plan: Plan) -> str:
    folder = plan.run_dir.path
    if not isinstance(plan.postgres, PostgresServer):
        return f"PostgreSQL at {plan.postgres.address}; secrets and logs in {folder}"
    data = plan.postgres.data
    if data.is_relative_to(folder):
        return str(folder)
    elsewhere = f"{folder}\nPostgreSQL's in {data}, since its user `nobody` cannot enter {folder}"
    # Where release 0.1.0 put it.
    may_be_emptied = data.is_relative_to("/var/tmp")  # noqa: S108
    return elsewhere + ("\n(some systems empty /var/tmp: keep a copy)" if may_be_emptied else "")


def _row(name: str, text: str) -> str:
    first, *others = text.splitlines()
    return "\n".join([f"  {name:<9} {first}", *(f"  {'':<9} {other}" for other in others)])


def show(run_dir: RunDir) -> None:
    """Print a line per process; exit code 3 when nothing runs, as init scripts do."""
    launcher = run_dir.holder()
    if not launcher:
        raise StackError("not running; start it with: make run", code=NOT_RUNNING)
    stack = read_stack(run_dir)
    entries: list[dict[str, Any]] = [{"name": "launcher", "pid": launcher, "url": (stack or {}).get("gateway_url")}]
    total = 0.0
    print(ROW.format("process", "pid", "state", "RSS MB", "url"))
    for entry in [*entries, *read_pids(run_dir)]:
        size = _resident(entry["pid"], alone=entry["name"] == "launcher")
        total += size
        state = _state(entry["pid"], ready=stack is not None)
        print(ROW.format(entry["name"], entry["pid"] or "-", state, f"{size:.0f}", entry["url"] or ""))
    print(ROW.format("total", "", "ready" if stack else "starting", f"{total:.0f}", ""))
    print(f"\ndata in {run_dir.path}; only you can read the passwords in secrets.json and stack.json there")
    for content, folder in data_folders(run_dir).items():
        if not folder.is_relative_to(run_dir.path):
            print(f"{content} in {folder}")


def data_folders(run_dir: RunDir) -> dict[str, Path]:
    """Where which data of a stack is; folders that do not exist are left out."""
    home = bound_home(run_dir) or run_dir.path / "postgres"
    folders = {
        "PostgreSQL: accounts, products, runs": home / "data",
        "Valkey: queue and limits": run_dir.path / "valkey",
        "logs": run_dir.logs,
    }
    return {content: folder for content, folder in folders.items() if folder.is_dir()}


def _state(pid: int | None, *, ready: bool) -> str:
    if not pid or not psutil.pid_exists(pid):
        return "restarting"
    return "running" if ready else "starting"


def _resident(pid: int | None, *, alone: bool) -> float:
    """Megabytes of a process and its children; memory that the children share with it is counted once."""
    try:
        process = psutil.Process(pid) if pid else None
        if process is None:
            return 0.0
        children = [] if alone else process.children(recursive=True)
        extra = sum(info.rss - getattr(info, "shared", 0) for info in (child.memory_info() for child in children))
        return float(process.memory_info().rss + extra) / MEGABYTE
    except psutil.NoSuchProcess:
        return 0.0
