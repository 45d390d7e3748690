"""What clients send and get."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NotRequired
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from common.web.health import HealthReport
from common.web.openapi import Problem
from sync.runs import RunRow
from sync.states import Kind, Mode, RunState, Trigger

__all__ = [
    "ConflictProblem", "DiffPage", "ModeIn", "QueueOut", "RejectOut", "RejectPage", "RunOut", "RunPage",
    "SchedulerOut", "SourceName", "SourceStatus", "StatusOut", "SyncHealthReport", "TriggerIn", "TriggerOut",
    "WorkerOut",
]  # fmt: skip


NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"
SourceName = Annotated[str, Field(min_length=1, max_length=63, pattern=NAME)]


class TriggerIn(BaseModel):
    """Nothing is required: without a body the source of the environment is synced."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {}})

    source: SourceName | None = Field(None, description="The name of the source; that of the environment if left out.")
    mode: Mode = Field(Mode.APPLY, description="`plan` shows what would change, for an admin to apply.")
    full: bool = Field(
        False, strict=True, description="Begin with the first page, also where an earlier run could be gone on from."
    )


class ModeIn(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"mode": "plan"}})

    mode: Mode = Field(Mode.APPLY, description="`plan` shows what would change, for an admin to apply.")


class TriggerOut(BaseModel):
    run_id: UUID
    status_url: str = Field(description="Where to read the run.")

    @classmethod
    def of(cls, run: RunRow) -> "TriggerOut":
        return cls(run_id=run.id, status_url=f"/sync/runs/{run.id}")


class CountsOut(BaseModel):
    """What happened to the records of a run; until it has succeeded, `fetched` and `rejected` show its progress."""

    model_config = ConfigDict(from_attributes=True)

    fetched: int
    created: int
    updated: int
    unchanged: int
    rejected: int
    removed: int = Field(description="Products that the source lacks and that were removed for it.")
    pinned: int = Field(description="Records that differ only in fields that an admin has pinned.")
    deleted: int = Field(description="Records of products that an admin has deleted.")
    duplicates: int = Field(description="Records whose external id came again later.")
    conflicts: int = Field(description="Planned changes that were left, since their product has changed meanwhile.")


class RunOut(BaseModel):
    """One pass over a source. `attempt` counts how often a worker took it: again after a crash or `apply`."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    source: str
    state: RunState
    trigger: Trigger
    mode: Mode
    kind: Kind
    reverts: UUID | None = Field(description="The run that this one undoes.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    duration_seconds: float | None = Field(None, description="From the first worker's start to the end, or until now.")
    counts: CountsOut
    pages: int
    attempt: int
    rate: float | None = Field(None, description="Records a second, from the first worker's start.")
    trace_id: str | None = Field(None, description="Of the trace that the run is in, where tracing is on.")
    error: str | None = Field(description="Why it failed or was cancelled, for an admin.")
    held_for: str | None = Field(description="Why it waits, or waited, for an admin to apply or cancel it.")
    retry_at: datetime | None = Field(description="When a run that failed is followed by another one.")

    @classmethod
    def of(cls, run: RunRow) -> "RunOut":
        out = cls.model_validate(run)
        out.trace_id = run.traceparent.split("-")[1] if run.traceparent else None
        if run.started_at:
            spent = (run.finished_at or datetime.now(UTC)) - run.started_at
            out.duration_seconds = round(max(0.0, spent.total_seconds()), 3)
            out.rate = round(run.fetched / out.duration_seconds, 1) if out.duration_seconds else None
        return out


class RunPage(BaseModel):
    """Runs, the newest first. `next` is the path of the next page, null on the last one."""

    items: list[RunOut]
    next: str | None


class DifferenceOut(BaseModel):
    old: Any
    new: Any


class ChangeOut(BaseModel):
    """What a run does, or would do, to one product."""

    id: int
    kind: str = Field(
        description="`created`, `changed`, `removed` or `marked` (the source lacks it), `returned` or `seen` (it is "
        "there again), `pinned` (all that differs is pinned), `deleted` (a reverted creation)."
    )
    external_id: str
    product_id: int | None = Field(description="Null for a product that is not created yet.")
    name: str | None
    version: int | None = Field(description="Of the product before the change.")
    applied: bool
    changes: dict[str, DifferenceOut] = Field(description="By field.")
    pinned: dict[str, DifferenceOut] = Field(description="Fields that stay as an admin pinned them.")


class DiffPage(BaseModel):
    """Changes by id. `next` is the path of the next page, null on the last one."""

    items: list[ChangeOut]
    next: str | None
    totals: dict[str, int] = Field(description="How many changes of each kind there are; on the first page alone.")


class ConflictOut(TypedDict):
    """A product that is not at the version any more that the plan was made for."""

    external_id: str
    product_id: int | None
    name: str | None
    expected: Annotated[int | None, Field(description="Its version when the plan was made; null if there was none.")]
    current: Annotated[int | None, Field(description="Null if it is gone.")]


class ConflictProblem(Problem):
    """The plan is not what would happen any more; `conflicts` names up to 100 products."""

    conflicts: list[ConflictOut]
    total: int


class RejectOut(BaseModel):
    """A record that is no product. `payload` is JSON of 2 KB at most, which may be cut in the middle."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    external_id: str | None
    reason: str
    payload: str
    position: int | None = Field(description="The number of the record in its pass, where it is known.")


class RejectPage(BaseModel):
    items: list[RejectOut]
    next: str | None


class SourceStatus(BaseModel):
    source: str
    provider: str
    url: str = Field(description="Without credentials and query.")
    managed_by: str
    enabled: bool
    last_run: RunOut | None = Field(description="The newest run that has ended.")
    active_run: RunOut | None = Field(description="A held one is active until an admin applies or cancels it.")
    last_success_at: datetime | None
    retry_at: datetime | None = Field(description="When a run that failed is followed by another one.")
    next_tick_at: datetime | None = Field(description="Null while Redis or the scheduler is unavailable.")
    interval_minutes: int | None
    cron: str | None
    waits_for: str | None = Field(None, description="What an admin has to decide before it is synced again.")


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
    sources: list[SourceStatus]
    queue: QueueOut | None = Field(description="Null while Redis is unavailable.")
    workers: list[WorkerOut]
    scheduler: SchedulerOut
    redis: Literal["ok", "unavailable"]


class SyncHealthReport(HealthReport):
    """The service can work. The times are left out while they cannot be read."""

    last_success_at: NotRequired[datetime | None]
    retry_at: NotRequired[
        Annotated[datetime | None, Field(description="When a run that failed is followed by another one.")]
    ]
