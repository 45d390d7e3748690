"""Specifications of processes: what to run, as which user, how to see that it is ready, how to stop it."""

import ctypes
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import IO

__all__ = ["Account", "ProcessSpec", "Stage"]

PR_SET_PDEATHSIG = 1
# Looked up at import: between fork and exec nothing may be loaded.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class Stage(IntEnum):
    """The order of stopping: a client stops before the servers that it uses."""

    SCHEDULER = 1
    WORKER = 2
    GATEWAY = 3
    API = 4
    DUMMYJSON = 5
    REDIS = 6
    POSTGRES = 7


@dataclass(frozen=True)
class Account:
    """A user that root runs a process as."""

    uid: int
    gid: int

    def can_reach(self, path: Path) -> bool:
        """Whether this user may enter `path` and every folder above it."""
        return all(self._can_enter(folder.stat()) for folder in (path, *path.parents) if folder.is_dir())

    def own(self, path: Path) -> None:
        os.chown(path, self.uid, self.gid)

    def _can_enter(self, status: os.stat_result) -> bool:
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """One process of the stack.

    `env` is its whole environment. `before_start` removes what a crash of it left behind. `death_signal` is what it
    receives when the launcher is killed.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    stage: Stage
    url: str | None = None
    metrics_url: str | None = None
    health_url: str | None = None
    account: Account | None = None
    grace: float = 3.0
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGTERM
    before_start: Callable[[], None] | None = None

    def spawn(self, output: int | IO[bytes]) -> subprocess.Popen[bytes]:
        """Start it in a session of its own, with both outputs going to `output`.

        Call it from the main thread only: the kernel sends `death_signal` when the parent thread ends.
        """
        if self.before_start is not None:
            self.before_start()
        return subprocess.Popen(
            list(self.argv),
            env=dict(self.env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with(os.getpid(), self.death_signal),
            user=self.account.uid if self.account else None,
            group=self.account.gid if self.account else None,
            extra_groups=[] if self.account else None,
        )


def _die_with(parent: int, death_signal: signal.Signals) -> Callable[[], None]:
    """Runs in the child after the change of user, which would reset the parent-death signal."""

    def request() -> None:
        if _prctl is not None:
            _prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return request
