"""Starting a process that dies with its launcher."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import IO

from stack.spec import Spec

__all__ = ["spawn"]

PR_SET_PDEATHSIG = 1
# Resolved here, since between fork and exec nothing may be loaded.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def spawn(spec: Spec, output: int | IO[bytes]) -> subprocess.Popen[bytes]:
    """Start `spec` in a session of its own, with both outputs going to `output`.

    Call it from the main thread only: the kernel ties the child to the thread that made it.
    """
    account = spec.account
    if spec.before_start is not None:
        spec.before_start()
    return subprocess.Popen(
        list(spec.argv),
        env=dict(spec.env),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_die_with(os.getpid(), spec.death_signal),
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )


def _die_with(parent: int, death_signal: signal.Signals) -> Callable[[], None]:
    # Runs after the change of user, which would clear the wish again.
    def ask() -> None:
        if _prctl is not None:
            _prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return ask
