"""A private data folder for a run directory that PostgreSQL's user cannot reach, such as one below /root."""

import os
import shutil
import tempfile
from pathlib import Path

from stack.errors import StackError
from stack.files import write_private
from stack.pgbinaries import SHARED
from stack.rundir import RunDir

__all__ = ["bind_home", "bound_home"]

# Inside the folder: whose data it is.
OWNER = "run-dir"


def bound_home(run_dir: RunDir) -> Path | None:
    """The folder made for `run_dir` at an earlier start."""
    record = run_dir.postgres_home_file
    home = Path(record.read_text("utf-8").rstrip("\n")) if record.exists() else None
    return home if home is not None and home.is_dir() else None


def bind_home(run_dir: RunDir) -> Path:
    """Make a folder for `run_dir`, and delete those whose run directory is gone."""
    prefix = f"products-api-{os.geteuid()}-data-"
    for home in SHARED.glob(f"{prefix}*"):
        if _is_abandoned(home):
            shutil.rmtree(home, ignore_errors=True)
    try:
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=SHARED))
    except OSError as error:
        raise StackError(
            f"PostgreSQL runs as `nobody`, who cannot enter {run_dir.path}, and {SHARED} cannot be written "
            f"({error.strerror}): choose a RUN_DIR that every user can enter, or run as another user than root"
        ) from None
    write_private(made / OWNER, f"{run_dir.path}\n")
    write_private(run_dir.postgres_home_file, f"{made}\n")
    return made


def _is_abandoned(home: Path) -> bool:
    owner = home / OWNER
    return owner.is_file() and bound_home(RunDir(owner.read_text("utf-8").rstrip("\n"))) != home
