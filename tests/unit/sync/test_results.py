"""What a job tells its worker arrives as the types that it sent."""

import os
import signal
from uuid import UUID

from imports.counts import Counts
from sync.results import JobEnded, ReportPipe, RunResult, TickResult
from sync.states import Outcome, TickOutcome

TICK = TickResult(source="shop", outcome=TickOutcome.CLAIMED)
RUN = RunResult(
    run_id=UUID(int=7),
    source="shop",
    outcome=Outcome.RELEASED,
    counts=Counts(fetched=5, rejected=1),
    pages=2,
    attempt=3,
    seconds=1.25,
    error="page 3: it\nended",
)


def test_reports_are_what_was_sent() -> None:
    pipe = ReportPipe()
    for report in (TICK, RUN, JobEnded()):
        pipe.send(report)
    received = pipe.receive()
    assert received == [TICK, RUN, JobEnded()]
    assert isinstance(received[1], RunResult)
    assert received[1].outcome is Outcome.RELEASED


def test_a_job_that_was_killed_has_told_what_it_told() -> None:
    pipe = ReportPipe()
    child = os.fork()
    if child == 0:
        pipe.send(TICK)
        os.kill(os.getpid(), signal.SIGKILL)
    pipe.close_writer()
    os.waitpid(child, 0)
    assert pipe.receive() == [TICK]


def test_a_job_that_was_never_forked_has_told_nothing() -> None:
    assert ReportPipe().receive() == []
