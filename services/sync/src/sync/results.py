"""What a job tells the worker that forked it."""

import os
from uuid import UUID

import msgspec

from imports.counts import Counts
from sync.states import Outcome, TickOutcome

__all__ = ["JobEnded", "Report", "ReportPipe", "RunResult", "TickResult"]


class RunResult(msgspec.Struct, tag=True, kw_only=True):
    """How one worker's part in a run ended; until then `pages` and `counts` are its progress."""

    run_id: UUID
    source: str = ""
    outcome: Outcome = Outcome.SUCCEEDED
    counts: Counts = Counts()
    pages: int = 0
    attempt: int = 0
    seconds: float = 0.0
    error: str | None = None
    held_for: str | None = None
    resumable: bool = False
    retry_after: float | None = None

    def set_counts(self, counts: Counts) -> None:
        self.counts = counts


class TickResult(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    source: str
    outcome: TickOutcome


class JobEnded(msgspec.Struct, tag=True, frozen=True):
    """The last report of a job that was not killed, also if it raised."""


Report = RunResult | TickResult | JobEnded


class ReportPipe:
    """Carries reports from one forked job to its worker; not by way of Redis, which may have gone meanwhile.

    To be made before the fork. The worker then calls `close_writer`, so that it sees the end of a job that was killed.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()

    def send(self, report: Report) -> None:
        """In the job."""
        os.write(self._writer, msgspec.json.encode(report) + b"\n")

    def close_writer(self) -> None:
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1

    def receive(self) -> list[Report]:
        """In the worker, when the job has ended: all its reports, in order."""
        self.close_writer()
        with os.fdopen(self._reader, "rb") as reader:
            return msgspec.json.Decoder(Report).decode_lines(reader.read())
