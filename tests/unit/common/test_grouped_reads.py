"""Reads in groups: which group a read joins, what each reader gets, and what it costs when readers go."""

import asyncio
import gc
from collections.abc import Mapping, Sequence

import pytest

from common import loop_clock
from common.deadlines import start_deadline
from common.grouped_reads import GroupedReads, ReadOverdue, TooManyReads


class Server:
    """Answers groups of numbers with their doubles, each when the test lets it."""

    def __init__(self, **bounds: int) -> None:
        self.groups: list[list[int]] = []
        self.answers: list[asyncio.Future[Mapping[int, int]]] = []
        self.last_answered = float("-inf")
        self.reads = GroupedReads("test", self.answer, last_answered=lambda: self.last_answered, **bounds)

    async def answer(self, keys: Sequence[int]) -> Mapping[int, int]:
        self.groups.append(list(keys))
        self.answers.append(asyncio.get_running_loop().create_future())
        return await self.answers[-1]

    async def start(self, *keys: int) -> list[asyncio.Task[int | None]]:
        """Reads of `keys` that have begun, in one turn of the loop."""
        tasks = [asyncio.create_task(self.reads.read(key)) for key in keys]
        await turns()
        return tasks

    async def let(self, group: int) -> None:
        self.answers[group].set_result({key: 2 * key for key in self.groups[group] if key >= 0})
        await turns()


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_a_read_alone_is_sent_at_once() -> None:
    server = Server()
    (read,) = await server.start(1)
    assert server.groups == [[1]]
    await server.let(0)
    assert await read == 2


async def test_a_read_joins_the_next_group_and_never_one_that_was_sent() -> None:
    server = Server(lanes=1)
    first = await server.start(1)
    second = await server.start(1, 2)
    assert server.groups == [[1]], "one group is under way, the next one waits"
    await server.let(0)
    assert server.groups == [[1], [1, 2]]
    assert first[0].done()
    assert not second[0].done(), "an older statement answers no later read"
    await server.let(1)
    assert [await read for read in second] == [2, 4]


async def test_as_many_groups_as_lanes() -> None:
    server = Server(lanes=2)
    reads = await server.start(1) + await server.start(2) + await server.start(3) + await server.start(4)
    assert server.groups == [[1], [2]]
    await server.let(1)
    assert server.groups == [[1], [2], [3, 4]]
    await server.let(0)
    await server.let(2)
    assert [await read for read in reads] == [2, 4, 6, 8]


async def test_equal_reads_of_a_group_are_one_key() -> None:
    server = Server()
    reads = await server.start(7, 7, 7, 8)
    assert server.groups == [[7, 8]]
    await server.let(0)
    assert [await read for read in reads] == [14, 14, 14, 16]


async def test_a_key_without_a_value_is_none() -> None:
    server = Server()
    reads = await server.start(-1, 1)
    await server.let(0)
    assert [await read for read in reads] == [None, 2]


async def test_a_group_has_at_most_its_size() -> None:
    server = Server(lanes=1, group_size=3)
    reads = await server.start(*range(8))
    for group in range(3):
        await server.let(group)
    assert server.groups == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert [await read for read in reads] == [2 * key for key in range(8)]


async def test_too_many_reads_are_refused_at_once() -> None:
    server = Server(most_waiting=3)
    reads = await server.start(1, 2, 3)
    with pytest.raises(TooManyReads):
        await asyncio.wait_for(server.reads.read(4), 5)
    await server.let(0)
    assert [await read for read in reads] == [2, 4, 6]
    (again,) = await server.start(4)
    await server.let(1)
    assert await again == 8, "the bound is on those that wait"


async def test_a_cancelled_reader_cancels_only_itself() -> None:
    server = Server(lanes=1)
    sent = await server.start(1, 1, 2)
    waiting = await server.start(3, 3, 4)
    for task in (sent[0], waiting[0], waiting[2]):
        task.cancel()
    await server.let(0)
    assert server.groups[1] == [3], "nobody waits for 4"
    await server.let(1)
    assert [sent[1].result(), sent[2].result(), waiting[1].result()] == [2, 4, 6]
    assert [task.cancelled() for task in (sent[0], waiting[0], waiting[2])] == [True] * 3


async def test_a_read_behind_a_whole_group_of_gone_ones_is_sent() -> None:
    server = Server(lanes=1, group_size=2)
    await server.start(1)
    *gone, waiting = await server.start(2, 3, 4)
    for task in gone:
        task.cancel()
    await server.let(0)
    assert server.groups == [[1], [4]]
    await server.let(1)
    assert await waiting == 8


async def test_an_error_reaches_each_reader_as_its_own() -> None:
    server = Server()
    reads = await server.start(1, 1, 2)
    server.answers[0].set_exception(ConnectionResetError("the connection is gone"))
    errors = await asyncio.gather(*reads, return_exceptions=True)
    assert [(type(error), str(error)) for error in errors] == [(ConnectionResetError, "the connection is gone")] * 3
    assert len({id(error) for error in errors}) == 3
    (after,) = await server.start(1)
    await server.let(1)
    assert await after == 2, "the lane is free again"


async def test_a_read_ends_at_its_own_deadline(caplog: pytest.LogCaptureFixture) -> None:
    async def read(key: int) -> int | None:
        start_deadline(0.2, 5)
        return await server.reads.read(key)

    server = Server(lanes=1)
    sent, waiting = asyncio.create_task(read(1)), asyncio.create_task(read(2))
    # It gives up although its group goes on, and the one that is not sent does too.
    await asyncio.wait({sent, waiting}, timeout=10)
    assert isinstance(sent.exception(), ReadOverdue)
    assert isinstance(waiting.exception(), ReadOverdue)
    await server.let(0)
    assert server.groups == [[1, 2]]
    (after,) = await server.start(3)
    await server.let(1)
    assert await after == 6


async def test_a_server_that_answers_others_is_waited_for() -> None:
    async def read() -> int | None:
        start_deadline(0.2, 60)
        return await server.reads.read(1)

    server = Server()
    task = asyncio.create_task(read())
    began = loop_clock.now()
    while loop_clock.now() < began + 0.6:
        server.last_answered = loop_clock.now()
        await asyncio.sleep(0.02)
    assert not task.done()
    await server.let(0)
    assert await task == 2


async def test_close_ends_every_read() -> None:
    server = Server(lanes=1)
    reads = await server.start(1) + await server.start(2)
    await server.reads.close()
    await turns()
    assert all(read.cancelled() for read in reads)


async def test_nothing_is_left_of_reads_that_ended(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(lanes=1, most_waiting=10)
    for turn in range(200):
        reads = await server.start(1, 1, 2)
        reads[turn % 3].cancel()
        if turn % 2:
            server.answers[-1].set_exception(OSError("gone"))
        else:
            server.answers[-1].set_result({})
        await asyncio.gather(*reads, return_exceptions=True)
        await turns()
    gc.collect()
    assert not [record for record in caplog.records if "never retrieved" in record.message]
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
