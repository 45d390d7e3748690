"""One server without a stack, for tests and measurements."""

import os
import signal
import subprocess
import time
from collections.abc import Callable

from stack.errors import StackError
from stack.run_dir import RunDir
from stack.specs import ProcessSpec

__all__ = ["Standalone"]


class Standalone:
    """A running process that writes into the logs of its run directory."""

    def __init__(self, spec: ProcessSpec, run_dir: RunDir) -> None:
        self.spec = spec
        self._log = run_dir.logs / f"{spec.name}.log"
        with self._log.open("wb") as output:
            self.process: subprocess.Popen[bytes] = spec.spawn(output)

    def wait(self, is_ready: Callable[[], bool], timeout: float = 30) -> None:
        """Return when it is ready; raise StackError with its log when it exits or the time is over."""
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
