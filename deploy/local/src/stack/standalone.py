"""One server on its own, for tests and measurements that need no whole stack."""

import os
import signal
import subprocess
import time
from collections.abc import Callable

from stack.errors import StackError
from stack.rundir import RunDir
from stack.spawn import spawn
from stack.spec import Spec

__all__ = ["Standalone"]


class Standalone:
    """A running process that writes into the logs of its run directory."""

    def __init__(self, spec: Spec, run_dir: RunDir) -> None:
        self.spec = spec
        self._log = run_dir.logs / f"{spec.name}.log"
        with self._log.open("wb") as output:
            self.process: subprocess.Popen[bytes] = spawn(spec, output)

    def wait(self, is_ready: Callable[[], bool], timeout: float = 30) -> None:
        """Return as soon as it is ready; say why if it never is."""
        deadline = time.monotonic() + timeout
        while not is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise StackError(f"{self.spec.name} does not start:\n{self._log.read_text('utf-8', 'replace')}")
            time.sleep(0.01)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(self.spec.stop_signal)
            try:
                self.process.wait(self.spec.grace)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
