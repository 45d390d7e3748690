"""The states of a run, and how jobs end. The values are stored in PostgreSQL and are labels of metrics."""

from enum import StrEnum

__all__ = ["ACTIVE", "ENDED", "Outcome", "RunState", "TickOutcome", "Trigger"]


class RunState(StrEnum):
    """A run waits for a worker, one works on it, or it has ended."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


ACTIVE = (RunState.QUEUED, RunState.RUNNING)
"""At most one run of a source is in one of these."""
ENDED = (RunState.SUCCEEDED, RunState.FAILED)


class Trigger(StrEnum):
    """Why there is a run: an admin asked for it, its slot came, or its source was never synced."""

    MANUAL = "manual"
    SCHEDULE = "schedule"
    INITIAL = "initial"


class Outcome(StrEnum):
    """How one worker's part in a run ended.

    `RELEASED`: the worker had to end, and another one goes on. `LOST`: another worker has the run. `SKIPPED`: it did
    not need a worker. `ERROR` and `KILLED` are for a job that raised, or that ended without a word.
    """

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RELEASED = "handed_back"
    LOST = "lost"
    SKIPPED = "skipped"
    ERROR = "error"
    KILLED = "killed"


class TickOutcome(StrEnum):
    """What a tick did: it claimed its slot; it was skipped because the slot is taken or a run is active; it failed."""

    CLAIMED = "claimed"
    SKIPPED = "skipped"
    FAILED = "failed"
