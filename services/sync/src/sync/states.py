"""The states of a run, and how jobs end. The values are stored in PostgreSQL and are labels of metrics."""

from enum import StrEnum

__all__ = ["ACTIVE", "DECIDABLE", "ENDED", "WORKING", "Kind", "Mode", "Outcome", "RunState", "TickOutcome", "Trigger"]


class RunState(StrEnum):
    """A run waits for a worker, one works on it, it waits for an admin, or it has ended.

    `STAGED`: a plan that an admin may apply; a newer run of the source ends it. `HELD`: the pass would change too much;
    the source has no other run until an admin applies or cancels it. `APPLYING`: its changes are being written.
    """

    QUEUED = "queued"
    RUNNING = "running"
    STAGED = "staged"
    HELD = "held"
    APPLYING = "applying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE = (RunState.QUEUED, RunState.RUNNING, RunState.HELD, RunState.APPLYING)
"""At most one run of a source is in one of these."""
WORKING = (RunState.RUNNING, RunState.APPLYING)
"""A worker has the run."""
DECIDABLE = (RunState.STAGED, RunState.HELD)
"""An admin applies or cancels the run."""
ENDED = (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)


class Mode(StrEnum):
    """Whether a run's changes are applied, or shown first."""

    APPLY = "apply"
    PLAN = "plan"


class Kind(StrEnum):
    """Whether a run reads its source, or undoes another run."""

    SYNC = "sync"
    REVERT = "revert"


class Trigger(StrEnum):
    """Why there is a run.

    An admin asked for it, its slot came, its source was never synced, or the run before failed for a while only.
    """

    MANUAL = "manual"
    SCHEDULE = "schedule"
    INITIAL = "initial"
    RETRY = "retry"


class Outcome(StrEnum):
    """How one worker's part in a run ended.

    `STAGED` and `HELD`: an admin decides. `RELEASED`: the worker had to end, and another one goes on. `LOST`: another
    worker has the run, or it was cancelled. `SKIPPED`: it did not need a worker. `ERROR` and `KILLED` are for a job
    that raised, or that ended without a word.
    """

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STAGED = "staged"
    HELD = "held"
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
