"""The clock that stands still while this process is late."""

import asyncio
import time

import pytest

from common import loop_clock
from common.deadlines import paused_deadline, start_deadline, time_left


def block(seconds: float) -> None:
    """Hold up the event loop, as other work or a machine without a free core does."""
    time.sleep(seconds)


async def test_it_stands_still_while_the_loop_is_blocked() -> None:
    began = loop_clock.now()
    for _ in range(3):
        block(1)
        assert loop_clock.now() - began < 1
        await asyncio.sleep(0)
    assert loop_clock.now() - began < 1


async def test_it_goes_on_while_the_loop_waits() -> None:
    wall = time.monotonic()
    await passes(0.3)
    assert time.monotonic() - wall >= 0.3


async def test_it_goes_on_after_nobody_has_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_clock, "IDLE_SECONDS", 0.0)
    wall = time.monotonic()
    while True:
        read, slept = loop_clock.now(), time.monotonic()
        await asyncio.sleep(0.5)
        passed, most = loop_clock.now() - read, time.monotonic() - slept
        assert passed <= most + 0.01
        if passed > 0.4:
            break
        assert time.monotonic() - wall < 60


async def test_an_answer_that_came_while_the_process_was_late_is_in_time() -> None:
    loop = asyncio.get_running_loop()
    answer = loop.create_future()
    loop.call_later(0.1, answer.set_result, "in time")
    async with loop_clock.timeout(0.3):
        block(1)
        assert await answer == "in time"


async def test_what_does_not_come_is_given_up_even_by_a_process_that_is_late() -> None:
    async def late() -> None:
        while True:
            block(0.1)
            await asyncio.sleep(0)

    task = asyncio.create_task(late())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(60), loop_clock.timeout(0.3):
            await asyncio.Event().wait()
    task.cancel()
    await asyncio.wait({task})


async def test_the_time_left_may_change() -> None:
    left = [3.0]
    waiting = asyncio.Event()

    async def wait() -> None:
        async with loop_clock.timeout(lambda: left[0]):
            waiting.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await waiting.wait()
    assert not (await asyncio.wait({task}, timeout=3 * loop_clock.CHECK_SECONDS))[0]
    left[0] = 0.0
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), 60)


async def test_the_deadline_of_a_request_goes_by_it() -> None:
    start_deadline(0.5, 0.6)
    assert time_left(0.0) > 0
    block(1)
    await asyncio.sleep(0)
    assert time_left(0.0) > 0
    with paused_deadline():
        await passes(1.0)
    assert time_left(0.0) > 0
    await passes(0.6)
    assert time_left(0.0) == 0


async def passes(seconds: float) -> None:
    """Wait until the clock has advanced by so much."""
    ends, wall = loop_clock.now() + seconds, time.monotonic()
    while loop_clock.now() < ends:
        assert time.monotonic() - wall < 60
        await asyncio.sleep(0.01)
