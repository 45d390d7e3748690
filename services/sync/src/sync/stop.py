"""SIGTERM and SIGINT as a fact to be asked for."""

import signal
from types import FrameType

__all__ = ["Stop"]


class Stop:
    """`requested` once the process has been told to end.

    A plain flag, polled: setting a threading.Event in a signal handler can deadlock with waiting for it.
    """

    def __init__(self) -> None:
        self.requested = False

    def listen(self) -> None:
        """Take over the signals, from whoever has them."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
