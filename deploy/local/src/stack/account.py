"""The account that PostgreSQL runs under: it refuses to run as root."""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from stack.errors import StackError

__all__ = ["Account", "for_postgres"]


@dataclass(frozen=True)
class Account:
    """A user to become before a program is run."""

    uid: int
    gid: int

    def can_reach(self, path: Path) -> bool:
        """Whether this user may pass through every folder above `path` and into it."""
        return all(self._may_pass(folder.stat()) for folder in (path, *path.parents) if folder.is_dir())

    def own(self, path: Path) -> None:
        os.chown(path, self.uid, self.gid)

    def _may_pass(self, status: os.stat_result) -> bool:
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def for_postgres() -> Account | None:
    """None for an ordinary user, who runs PostgreSQL himself; `nobody` for root."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise StackError("PostgreSQL does not run as root and there is no user `nobody`; run as another user") from None
    return Account(entry.pw_uid, entry.pw_gid)
