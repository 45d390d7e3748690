"""The server of tests/load/fastify, with its packages in a cache folder of the user."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fixtures.processes import end

__all__ = ["install", "missing", "node_version", "running"]

SOURCE = Path(__file__).parent / "fastify"
FILES = ("package.json", "package-lock.json", "server.mjs")
OLDEST_NODE = 20


def missing() -> str:
    """Why it cannot run here: empty if it can. Installs its packages if they are not there yet."""
    if not (shutil.which("node") and shutil.which("npm")):
        return "no Node"
    if int(node_version().partition(".")[0]) < OLDEST_NODE:
        return f"Node {OLDEST_NODE} is needed"
    return "" if install() else "no npm registry"


def node_version() -> str:
    done = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    return done.stdout.strip().removeprefix("v")


def install() -> bool:
    """Whether the packages of the lock file are in the folder."""
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy(SOURCE / name, folder)
    if (folder / "installed").exists():
        return True
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    try:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return False
    if done.returncode == 0:
        (folder / "installed").touch()
    return done.returncode == 0


@contextmanager
def running(port: int, database_url: str) -> Iterator["subprocess.Popen[bytes]"]:
    environment = {
        "PATH": os.environ["PATH"], "NODE_ENV": "production", "PORT": str(port), "DATABASE_URL": database_url,
    }  # fmt: skip
    process = subprocess.Popen(["node", "server.mjs"], cwd=_folder(), env=environment)
    try:
        yield process
    finally:
        end(process)


def _folder() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / f"products-bench/fastify-{hashlib.sha256((SOURCE / FILES[1]).read_bytes()).hexdigest()[:12]}"
