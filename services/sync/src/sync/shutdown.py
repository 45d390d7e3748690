"""SIGTERM and SIGINT as a flag."""

import signal
from types import FrameType

__all__ = ["ShutdownFlag"]


class ShutdownFlag:
    """`requested` once the process has been told to end.

    A plain flag, polled: setting a threading.Event in a signal handler can deadlock with waiting for it.
    """

    def __init__(self) -> None:
        self.requested = False

    def listen(self) -> None:
        """Handle the signals here, whoever has handled them until now."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._request)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
