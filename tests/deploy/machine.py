"""How busy the machine was meanwhile: what tells a starved run from a fault."""

import os
from collections.abc import Callable

import psutil

__all__ = ["Machine"]


class Machine:
    """Each call tells of the time since the call before: load average, share of core time idle, throttled pods.

    The processor figures are of the machine that runs the tests; on a cluster elsewhere only the pods' matter.
    """

    def __init__(self, throttled: Callable[[], str] = lambda: "") -> None:
        self._throttled = throttled
        self._times = psutil.cpu_times()
        self._text = ""

    def __call__(self) -> str:
        before, now = self._times, psutil.cpu_times()
        passed = {name: getattr(now, name) - getattr(before, name) for name in now._fields if "guest" not in name}
        total = sum(passed.values())
        # Rows in quick succession belong to the same stretch of time.
        if total > 0.5:
            idle = (passed["idle"] + passed.get("iowait", 0.0)) / total
            stolen = passed.get("steal", 0.0) / total
            self._times = now
            self._text = f"load {os.getloadavg()[0]:.1f}, idle {idle:.0%}" + (
                f", stolen {stolen:.0%}" if stolen else ""
            )
        return ", ".join(filter(None, (self._text, self._throttled())))
