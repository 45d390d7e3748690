"""Hashing: bounded, off the event loop, and as slow for nobody as for somebody."""

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from auth.fair_queue import FairQueue
from auth.passwords import DUMMY_HASH, Passwords, cpus
from common.web.errors import Unavailable


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords()
    yield made
    made.close()


async def test_only_the_password_matches(passwords: Passwords) -> None:
    hashed = await passwords.hash("correct horse")
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.verify("correct horse", hashed)
    assert not await passwords.verify("correct horse ", hashed)
    assert hashed != await passwords.hash("correct horse")


async def test_nobodys_hash_costs_what_others_cost(passwords: Passwords) -> None:
    hashed = await passwords.hash("the password of nobody")
    assert DUMMY_HASH.split("$")[:4] == hashed.split("$")[:4]
    assert await passwords.verify("the password of nobody", DUMMY_HASH)


async def test_nobody_has_no_password(passwords: Passwords) -> None:
    assert not await passwords.verify("the password of nobody", None)


async def test_a_full_queue_is_refused_and_empties(passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FairQueue, "MAX_WAITING", 2)
    many = [passwords.verify("x", None) for _ in range(40)]
    outcomes = await asyncio.gather(*many, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, Unavailable)]
    assert outcomes.count(False) == 40 - len(refused) >= 3
    assert len(refused) > 0
    assert refused[0].headers == {"Retry-After": "1"}
    assert await passwords.verify("x", None) is False


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000", None),
        ("100000 100000", 1),
        ("150000 100000", 2),
        ("5000 100000", 1),
        ("nonsense", None),
        ("", None),
    ],
)
def test_threads_go_by_the_quota_of_the_container(tmp_path: Path, quota: str, expected: int | None) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    here = len(os.sched_getaffinity(0))
    assert cpus(tmp_path / "cpu.max") == min(expected or here, here)
    assert cpus(tmp_path / "absent") == here


def test_there_are_4_threads_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auth.passwords.cpus", lambda: 32)
    made = Passwords()
    assert made._pool._max_workers == 4
    made.close()


class TestFairQueue:
    async def test_accounts_and_addresses_take_queue(self) -> None:
        queue, order = FairQueue(1), []
        await queue.acquire("first", "x")

        async def one(account: str, address: str) -> None:
            await queue.acquire(account, address)
            order.append(account)
            queue.release()

        asked = [("a", "x")] * 3 + [("b", "x")] + [("c", "y")] * 2
        tasks = [asyncio.create_task(one(*who)) for who in asked]
        await asyncio.sleep(0)
        queue.release()
        await asyncio.gather(*tasks)
        assert order == ["a", "c", "b", "c", "a", "a"]

    async def test_room_is_made_at_the_cost_of_who_has_most(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(FairQueue, "MAX_WAITING", 4)
        queue = FairQueue(1)
        await queue.acquire("first", "x")
        crowd = [asyncio.create_task(queue.acquire("crowd", "x")) for _ in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await queue.acquire("crowd", "x")
        others = [asyncio.create_task(queue.acquire(account, "x")) for account in ("ada", "bob")]
        elsewhere = asyncio.create_task(queue.acquire("crowd", "y"))
        for _ in range(3):
            await asyncio.sleep(0)
        refused = [task for task in crowd if task.done()]
        assert len(refused) == 3
        assert all(isinstance(task.exception(), Unavailable) for task in refused)
        for _ in range(4):
            queue.release()
        await asyncio.gather(*others, elsewhere, *(task for task in crowd if task not in refused))

    async def test_a_place_that_was_given_up_goes_to_the_next(self) -> None:
        queue = FairQueue(1)
        await queue.acquire("a", "x")
        waiting = [asyncio.create_task(queue.acquire(account, "x")) for account in ("b", "c", "d")]
        await asyncio.sleep(0)
        waiting[0].cancel()
        queue.release()
        waiting[1].cancel()
        await asyncio.wait(waiting)
        assert waiting[2].done()
        assert waiting[2].exception() is None
        queue.release()
        await queue.acquire("e", "x")

    async def test_one_who_is_displaced_and_cancelled_gives_nothing_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(FairQueue, "MAX_WAITING", 2)
        queue = FairQueue(1)
        await queue.acquire("first", "x")
        crowd = [asyncio.create_task(queue.acquire("crowd", "x")) for _ in range(2)]
        await asyncio.sleep(0)
        other = asyncio.create_task(queue.acquire("other", "x"))
        await asyncio.sleep(0)
        crowd[1].cancel()
        await asyncio.wait({crowd[1]})
        queue.release()
        await crowd[0]
        assert not other.done()
        queue.release()
        await other
        queue.release()
        assert queue._free == 1


async def test_the_event_loop_goes_on(passwords: Passwords) -> None:
    hashing = asyncio.create_task(passwords.hash("x"))
    await asyncio.sleep(0)
    # In the event loop's own thread it would be done by now.
    assert not hashing.done()
    threads = {thread.name for thread in threading.enumerate()}
    assert any(name.startswith("passwords") for name in threads)
    await hashing
