"""Planning, applying and reverting, in pieces that are transactions of their own.

So no product is locked for longer than a piece takes, and a run that is killed goes on after its last piece: how far it
has come, and its counts, are stored with each piece. The phases of a run are

    of a plan                     planning -> planned
    of a plan that undoes a run   reverting -> planned
    of applying the plan          planned -> executing -> applied
    of applying without a plan    applying -> removing -> applied

and stopped, of one that was discarded: it can be reverted, or begin anew.
"""

import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from uuid import UUID

import msgspec

from catalog import differences, importer, plans, writes
from catalog.errors import NoPlan
from catalog.importer import State
from common.web.compiled import jsonb, load_statements
from common.web.database import Database, Transaction
from imports.counts import Counts
from imports.messages import Apply, Fence, Missing, MissingPolicy, Progress, Revert

__all__ = ["apply", "merge", "plan", "revert"]

# How many records, or changes, a transaction takes: tens of milliseconds, for which an admin's edit may wait.
PIECE = 1000
# After this long an answer tells how far it has come.
CALL_SECONDS = 0.8
_STATEMENTS = load_statements("catalog")


class Run(NamedTuple):
    """The progress of a run. `position` is the last row of the phase's last piece."""

    source: str
    run_id: UUID
    phase: str
    missing: MissingPolicy
    position: int
    counts: Counts

    def counted(self, **more: int) -> "Run":
        """With these numbers added."""
        sums = {name: getattr(self.counts, name) + number for name, number in more.items()}
        return self._replace(counts=msgspec.structs.replace(self.counts, **sums))


Begin = Callable[[Transaction, State, Run | None], Awaitable[Run]]


async def plan(db: Database, source: str, run_id: UUID, body: Missing) -> Progress:
    """Keep what applying the complete pass would change."""

    async def begin(transaction: Transaction, state: State, run: Run | None) -> Run:
        if run is None and state.result is None:
            return await _begin(transaction, source, state, "planning", body.missing)
        return _in_phase(run, "planning", "planned")

    return await _advance(db, source, run_id, body, begin)


async def revert(db: Database, source: str, run_id: UUID, body: Revert) -> Progress:
    """Plan what undoes the run `of`, as far as its changes are kept."""

    async def begin(transaction: Transaction, state: State, run: Run | None) -> Run:
        of = await _read(transaction, body.of)
        if of is None or of.source != source or body.of == run_id:
            raise NoPlan(f"Nothing is kept of a run {body.of} of {source}.")
        if run is None:
            run = await _create(transaction, Run(source, run_id, "reverting", "keep", 0, Counts()))
        return _in_phase(run, "reverting", "planned")

    return await _advance(db, source, run_id, body, begin, of=body.of)


async def apply(db: Database, source: str, run_id: UUID, body: Apply, *, seconds: float | None = None) -> Progress:
    """Make the staged records products; or, if `planned`, make the planned changes."""

    async def begin(transaction: Transaction, state: State, run: Run | None) -> Run:
        if state.result is not None and (run is None or run.phase != "applied"):
            # A catalog of the release before has merged it.
            return Run(source, run_id, "applied", "keep", 0, msgspec.convert(state.result, Counts))
        if body.planned:
            return _executed(_in_phase(run, "planned", "executing", "applied"))
        if run is None or run.phase in ("planning", "planned"):
            await _STATEMENTS["delete_unapplied_changes"].execute(transaction, run_id=run_id)
            return await _begin(transaction, source, state, "applying", body.missing)
        return _in_phase(run, "applying", "removing", "applied")

    return await _advance(db, source, run_id, body, begin, seconds=seconds)


async def merge(db: Database, source: str, run_id: UUID, body: Fence) -> Counts:
    """What sync of the release before asks for: all pieces in one request. If that is cut off, the next one goes on."""
    everything = Apply(fencing_token=body.fencing_token)
    return (await apply(db, source, run_id, everything, seconds=float("inf"))).counts


async def _advance(
    db: Database,
    source: str,
    run_id: UUID,
    body: Fence,
    begin: Begin,
    *,
    of: UUID | None = None,
    seconds: float | None = None,
) -> Progress:
    """Do pieces for some time. It opens a transaction for each, since a request has only one."""
    until = time.monotonic() + (CALL_SECONDS if seconds is None else seconds)
    while True:
        async with db.transaction() as transaction:
            state = await importer.locked(transaction, source, run_id, body.fencing_token)
            found = await _read(transaction, run_id)
            run = await begin(transaction, state, found if found and found.phase != "stopped" else None)
            if run.phase not in ("planned", "applied"):
                run = await _step(transaction, state, run, of)
                await _store(transaction, run)
        done = run.phase in ("planned", "applied")
        if done or time.monotonic() > until:
            return Progress(done=done, counts=run.counts)


async def _step(transaction: Transaction, state: State, run: Run, of: UUID | None) -> Run:
    """The next piece of a run."""
    if run.phase in ("planning", "applying"):
        await importer.check_staged(transaction, run.source, state)
        return await _take_records(transaction, state, run)
    await plans.by_index(transaction)
    last = await writes.end_of_changes(transaction, of or run.run_id, run.position, PIECE)
    if of is not None:
        return await _turn_round(transaction, run, of, last)
    return await _make_changes(transaction, run, last)


async def _take_records(transaction: Transaction, state: State, run: Run) -> Run:
    """Compare a piece of the staged records, and make products of them unless they are planned only."""
    planning = run.phase == "planning"
    last = await differences.end_of_piece(transaction, run.source, run.position, PIECE)
    if last is None:
        return await _take_missing(transaction, state, run)
    piece = await differences.record_piece(transaction, run.source, run.run_id, run.position, last, plan=planning)
    if piece.first is not None and piece.last is not None and not planning:
        await writes.write_changes(transaction, run.run_id, piece.first, piece.last)
    others = piece.created + piece.updated + piece.pinned + piece.deleted
    return run._replace(position=last).counted(
        created=piece.created,
        updated=piece.updated,
        pinned=piece.pinned,
        deleted=piece.deleted,
        unchanged=piece.distinct - others,
        duplicates=piece.records - piece.distinct,
    )


async def _take_missing(transaction: Transaction, state: State, run: Run) -> Run:
    """When all records are taken: what becomes of the products that the pass lacks."""
    count, first = 0, None
    if run.missing != "keep":
        await importer.check_complete(transaction, run.source, state)
        count, first = await differences.record_missing(transaction, run.source, run.run_id, run.missing)
    if run.phase == "planning":
        return run._replace(phase="planned").counted(removed=count if run.missing == "remove" else 0)
    if first is None:
        return await _end(transaction, run)
    return run._replace(phase="removing", position=first - 1)


async def _make_changes(transaction: Transaction, run: Run, last: int | None) -> Run:
    if last is None:
        return await _end(transaction, run)
    made = await writes.apply_changes(transaction, run.run_id, run.position, last)
    return run._replace(position=last).counted(
        created=made.created,
        updated=made.updated,
        removed=made.removed,
        conflicts=made.conflicts,
        # A run that undoes another one has no records.
        unchanged=made.records if run.counts.fetched else 0,
    )


async def _turn_round(transaction: Transaction, run: Run, of: UUID, last: int | None) -> Run:
    if last is None:
        return run._replace(phase="planned")
    updated, removed = await writes.record_revert(transaction, run.run_id, of, run.position, last)
    return run._replace(position=last).counted(updated=updated, removed=removed)


async def _end(transaction: Transaction, run: Run) -> Run:
    await _STATEMENTS["delete_staged_rows"].execute(transaction, source=run.source)
    await _STATEMENTS["store_import_result"].execute(
        transaction, of_source=run.source, result=jsonb(msgspec.structs.asdict(run.counts))
    )
    return run._replace(phase="applied")


async def _begin(transaction: Transaction, source: str, state: State, phase: str, missing: MissingPolicy) -> Run:
    await importer.check_complete(transaction, source, state)
    counts = Counts(fetched=state.staged + state.rejected, rejected=state.rejected)
    return await _create(transaction, Run(source, state.run_id, phase, missing, 0, counts))


def _in_phase(run: Run | None, *phases: str) -> Run:
    if run is None or run.phase not in phases:
        raise NoPlan(f"The run is {run.phase if run else 'not planned'}; for this it has to be {' or '.join(phases)}.")
    return run


def _executed(run: Run) -> Run:
    """A plan, from when it is applied: what it would do is not done yet."""
    if run.phase != "planned":
        return run
    counts = msgspec.structs.replace(run.counts, created=0, updated=0, removed=0)
    return run._replace(phase="executing", position=0, counts=counts)


async def _read(transaction: Transaction, run_id: UUID) -> Run | None:
    rows = await _STATEMENTS["read_import_run"].fetch(transaction, run_id=run_id)
    if not rows:
        return None
    source, phase, missing, position, counts = rows[0]
    return Run(source, run_id, phase, missing, position, msgspec.convert(counts, Counts))


async def _create(transaction: Transaction, run: Run) -> Run:
    counts = jsonb(msgspec.structs.asdict(run.counts))
    await _STATEMENTS["begin_import_run"].execute(
        transaction, run_id=run.run_id, source=run.source, phase=run.phase, missing=run.missing, counts=counts
    )
    return run


async def _store(transaction: Transaction, run: Run) -> None:
    counts = jsonb(msgspec.structs.asdict(run.counts))
    await _STATEMENTS["advance_import_run"].execute(
        transaction, of_run=run.run_id, phase=run.phase, position=run.position, counts=counts
    )
