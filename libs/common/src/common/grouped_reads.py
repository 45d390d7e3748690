"""Reads that wait at the same time are sent to the server together, and nothing is cached.

A read joins the next group, never one that has been sent. So its statement begins after the read did, and sees every
write that was acknowledged before. While groups are under way the next one fills by itself; a lone read is a group of
one, sent at once.
"""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from prometheus_client import Counter, Histogram

from common import deadlines, loop_clock, tracing

__all__ = ["GroupedReads", "TooManyReads"]

K = TypeVar("K")
V = TypeVar("V")

READS = Counter("products_grouped_reads", "Reads that were sent to PostgreSQL in groups.", ["kind"])
GROUPS = Counter("products_read_groups", "Groups of reads, each one exchange with PostgreSQL.", ["kind"])
WAIT_SECONDS = Histogram(
    "products_read_group_wait_seconds",
    "How long the first read of each group waited until the group was sent.",
    ["kind"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
)


class TooManyReads(Exception):
    """More reads wait than a process keeps."""


class ReadOverdue(TimeoutError):
    """The read was not answered within its request's deadline."""


class GroupedReads(Generic[K, V]):
    """Answers reads of one kind in groups.

    `answer` is given the different keys of a group, at most `group_size`, and returns their values; a key that it
    leaves out has None. At most `lanes` groups are under way, and `most_waiting` reads unanswered. `last_answered`
    tells when the server last answered anybody, by `loop_clock.now`: it extends the deadlines of reads.
    """

    def __init__(
        self,
        kind: str,
        answer: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]],
        *,
        last_answered: Callable[[], float],
        lanes: int = 2,
        group_size: int = 64,
        most_waiting: int = 512,
    ) -> None:
        self._kind, self._answer, self._last_answered = kind, answer, last_answered
        self._free_lanes, self._group_size, self._most_waiting = lanes, group_size, most_waiting
        self._next: dict[K, list[_Read[V]]] = {}
        self._unanswered: set[_Read[V]] = set()
        self._groups: set[asyncio.Task[None]] = set()
        # Kept, since to ask for it is a system call (getpid) before Python 3.12.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._start_scheduled = False
        self._check_timer: asyncio.TimerHandle | None = None
        self._reads, self._sent = READS.labels(kind), GROUPS.labels(kind)
        self._wait_seconds = WAIT_SECONDS.labels(kind)

    async def read(self, key: K) -> V | None:
        """The value of `key`, read after this call began.

        Raises TooManyReads at once, ReadOverdue at the request's deadline, and what `answer` raises.
        """
        if len(self._unanswered) >= self._most_waiting:
            raise TooManyReads
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        read = _Read[V](self._loop)
        self._unanswered.add(read)
        self._next.setdefault(key, []).append(read)
        if self._free_lanes and not self._start_scheduled:
            # Not at once: the other requests that arrived in this turn of the loop join the group.
            self._start_scheduled = True
            read.loop.call_soon(self._start, context=Context())
        if self._check_timer is None:
            self._check_timer = read.loop.call_later(loop_clock.CHECK_SECONDS, self._end_overdue, context=Context())
        try:
            return await read.value
        finally:
            self._unanswered.discard(read)
            read.forget()

    async def close(self) -> None:
        """End all reads; they raise CancelledError."""
        for read in self._unanswered:
            read.value.cancel()
        for task in self._groups:
            task.cancel()
        await asyncio.gather(*self._groups, return_exceptions=True)

    def _start(self) -> None:
        self._start_scheduled = False
        while self._free_lanes and (group := self._take()):
            self._free_lanes -= 1
            # In a context of its own: a group is part of no single request.
            task = asyncio.get_running_loop().create_task(self._run(group), context=Context())
            self._groups.add(task)
            task.add_done_callback(self._ended)

    def _take(self) -> "dict[K, list[_Read[V]]]":
        """The next group, without the reads whose clients have gone."""
        group: dict[K, list[_Read[V]]] = {}
        for key in list(self._next):
            if len(group) == self._group_size:
                break
            if reads := [read for read in self._next.pop(key) if not read.value.done()]:
                group[key] = reads
        return group

    async def _run(self, group: "dict[K, list[_Read[V]]]") -> None:
        reads = [read for waiting in group.values() for read in waiting]
        self._sent.inc()
        self._reads.inc(len(reads))
        self._wait_seconds.observe(max(0.0, reads[0].loop.time() - reads[0].began))
        deadlines.start_deadline()
        try:
            with tracing.group_span(f"read {self._kind}", [read.span for read in reads]):
                values = await self._answer(list(group))
        except Exception as error:
            for read in reads:
                # Each its own, since whoever raises an error adds to its traceback.
                read.fail(copy.copy(error))
        else:
            for key, waiting in group.items():
                value = values.get(key)
                for read in waiting:
                    read.succeed(value)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._groups.discard(task)
        self._free_lanes += 1
        self._start()

    def _end_overdue(self) -> None:
        last_answered = self._last_answered()
        for read in self._unanswered:
            if read.deadline is not None and not read.deadline.time_left(last_answered):
                read.fail(ReadOverdue("PostgreSQL does not answer"))
        self._check_timer = None
        if self._unanswered:
            loop = asyncio.get_running_loop()
            self._check_timer = loop.call_later(loop_clock.CHECK_SECONDS, self._end_overdue)


class _Read(Generic[V]):
    """One read that waits for its value."""

    __slots__ = ("began", "deadline", "loop", "span", "value")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self.began = loop, loop.time()
        self.value: asyncio.Future[V | None] = loop.create_future()
        self.deadline = deadlines.current_deadline()
        self.span = tracing.current_span()

    def succeed(self, value: V | None) -> None:
        if not self.value.done():
            self.value.set_result(value)

    def fail(self, error: Exception) -> None:
        if not self.value.done():
            self.value.set_exception(error)

    def forget(self) -> None:
        """An error that comes when its reader was just cancelled is not reported as lost."""
        if self.value.done() and not self.value.cancelled():
            self.value.exception()
