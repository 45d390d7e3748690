"""What clients send and get."""

from datetime import UTC, datetime
from typing import Annotated, Literal, NotRequired
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from common.web.health import HealthReport
from sync.runs import RunRow
from sync.states import RunState, Trigger

__all__ = [
    "QueueOut",
    "RunOut",
    "SchedulerOut",
    "SourceOut",
    "StatusOut",
    "SyncHealthReport",
    "TriggerIn",
    "TriggerOut",
    "WorkerOut",
]


class TriggerIn(BaseModel):
    """There are no options: send no body, or an empty object."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {}})


class TriggerOut(BaseModel):
    run_id: UUID
    status_url: str = Field(description="Where to read the run.")


class CountsOut(BaseModel):
    """What happened to the records of a run; until it has succeeded, `fetched` and `rejected` show its progress."""

    model_config = ConfigDict(from_attributes=True)

    fetched: int
    created: int
    updated: int
    unchanged: int
    rejected: int


class RunOut(BaseModel):
    """One pass over a source. `attempt` counts the workers that took it: more than one after a crash or an upgrade."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    source: str
    state: RunState
    trigger: Trigger
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    duration_seconds: float | None = Field(None, description="From the first worker's start to the end, or until now.")
    counts: CountsOut
    pages: int
    attempt: int
    error: str | None = Field(description="Why it failed, for an admin.")

    @classmethod
    def of(cls, run: RunRow) -> "RunOut":
        out = cls.model_validate(run)
        if run.started_at:
            spent = (run.finished_at or datetime.now(UTC)) - run.started_at
            out.duration_seconds = round(max(0.0, spent.total_seconds()), 3)
        return out


class SourceOut(BaseModel):
    source: str
    provider: str
    url: str = Field(description="Without credentials and query.")
    last_run: RunOut | None = Field(description="The newest run that has ended.")
    active_run: RunOut | None
    last_success_at: datetime | None
    retry_at: datetime | None = Field(description="When a first sync that failed is tried again.")
    next_tick_at: datetime | None = Field(description="Null while Redis or the scheduler is unavailable.")
    interval_minutes: int


class QueueOut(BaseModel):
    queued: int
    started: int
    failed: int


class WorkerOut(BaseModel):
    name: str
    state: str
    last_heartbeat: datetime | None


class SchedulerOut(BaseModel):
    alive: bool
    last_heartbeat: datetime | None


class StatusOut(BaseModel):
    sources: list[SourceOut]
    queue: QueueOut | None = Field(description="Null while Redis is unavailable.")
    workers: list[WorkerOut]
    scheduler: SchedulerOut
    redis: Literal["ok", "unavailable"]


class SyncHealthReport(HealthReport):
    """The service can work. The times are left out while they cannot be read."""

    last_success_at: NotRequired[datetime | None]
    retry_at: NotRequired[
        Annotated[datetime | None, Field(description="When a first sync that failed is tried again.")]
    ]
