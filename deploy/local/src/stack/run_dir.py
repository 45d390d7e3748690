"""The run directory: all files of one stack, private to its user, and the lock that one launcher holds."""

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any, TextIO

from stack.errors import StackError

__all__ = ["RunDir", "read_json", "write_json", "write_private"]

MARKER = ".products-api"


class RunDir:
    """The paths of a stack's files. Nothing is created before `create`."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).absolute()
        self.logs = self.path / "logs"
        self.lock_file = self.path / "lock"
        self.secrets_file = self.path / "secrets.json"
        self.stack_file = self.path / "stack.json"
        self.pids_file = self.path / "pids.json"
        self.env_file = self.path / "env.json"
        self.postgres_home_file = self.path / "postgres-home"
        self._marker = self.path / MARKER

    def create(self) -> None:
        """Create the folder. One with other files is refused, since `make reset` deletes the whole folder."""
        if self.path.exists() and not self.path.is_dir():
            raise StackError(f"{self.path} is a file; RUN_DIR names a folder")
        if self.path.exists() and not self._marker.exists() and any(self.path.iterdir()):
            raise StackError(f"{self.path} holds other files; RUN_DIR needs a folder of its own")
        # Other users may pass through, since root's PostgreSQL runs as another user, but not list it.
        try:
            self.path.mkdir(mode=0o711, parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise StackError(f"{self.path}: a part of this path is a file; RUN_DIR names a folder") from None
        self.path.chmod(0o711)
        self.logs.mkdir(mode=0o700, exist_ok=True)
        self._marker.touch()

    def lock(self) -> TextIO:
        """Become the only launcher of this folder for as long as the returned file is open."""
        self.lock_file.touch(0o600)
        file = self.lock_file.open("r+", encoding="ascii")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise StackError(
                f"already running here (pid {self.holder()}, {self.path}); stop it with: make stop"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        return file

    def holder(self) -> int | None:
        """The pid of the launcher that runs now, if one does."""
        try:
            with self.lock_file.open("r", encoding="ascii") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(file.read().strip() or 0)
        except (FileNotFoundError, ValueError):
            return None
        return None

    def remove(self) -> None:
        """Delete the folder, and PostgreSQL's if that is elsewhere. The caller makes sure that nothing runs."""
        if not self.path.exists():
            return
        if not self._marker.exists():
            raise StackError(f"{self.path} was not made by this program; delete it yourself if you mean to")
        if self.postgres_home_file.exists():
            shutil.rmtree(self.postgres_home_file.read_text("utf-8").rstrip("\n"), ignore_errors=True)
        shutil.rmtree(self.path)


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically; only its owner can read it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)


def write_json(path: Path, value: Any) -> None:
    write_private(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """The content, or None when the file is missing or is not JSON."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
