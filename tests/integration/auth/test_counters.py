"""The counters behind the limits: Redis and the process count the same."""

import random
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from auth.counters import Counters, LocalCounters, RedisCounters, Rule

RULE = Rule(hits=3, window=100, wait=10, longest=40, memory=50)
FLAT = Rule(hits=4, window=30, wait=30, longest=30, memory=0)


@pytest.fixture
async def shared(valkey_url: str) -> AsyncIterator[RedisCounters]:
    async with Redis.from_url(valkey_url) as client:
        await client.flushdb()
        yield RedisCounters(client)


@pytest.fixture(params=["shared", "local"])
def counters(request: pytest.FixtureRequest, shared: RedisCounters) -> Counters:
    return shared if request.param == "shared" else LocalCounters()


async def test_hits_begin_waits_that_double(counters: Counters) -> None:
    now, waits = 1_800_000_000.0, []
    for _ in range(3):
        assert await counters.hit(["a"], [RULE], now) == 0
    for _ in range(4):
        wait = await counters.waiting(["a"], now)
        waits.append(wait)
        assert await counters.hit(["a"], [RULE], now + wait - 0.25) == pytest.approx(0.25, abs=1e-3)
        now += wait
        assert await counters.hit(["a"], [RULE], now) == 0
    assert waits == pytest.approx([10, 20, 40, 40], abs=1e-3)
    assert await counters.waiting(["b"], now) == 0


async def test_a_window_and_a_memory_end(counters: Counters) -> None:
    now = 1_800_000_000.0
    for at in (0, 50, 101, 150):
        await counters.hit(["a"], [RULE], now + at)
    assert await counters.waiting(["a"], now + 150) == 0
    await counters.hit(["a"], [RULE], now + 160)
    assert await counters.waiting(["a"], now + 160) == pytest.approx(10, abs=1e-3)
    await counters.hit(["a"], [RULE], now + 160 + 10 + 51)
    assert await counters.waiting(["a"], now + 160 + 10 + 51) == 0


async def test_forgetting_clears_the_first_alone_and_not_a_wait(counters: Counters) -> None:
    now = 1_800_000_000.0
    for _ in range(2):
        await counters.hit(["a", "b"], [RULE, FLAT], now)
    assert await counters.forget(["a", "b"], now) == 0
    for _ in range(2):
        await counters.hit(["a", "b"], [RULE, FLAT], now)
    assert await counters.waiting(["a"], now) == 0
    assert await counters.forget(["a", "b"], now) == pytest.approx(30, abs=1e-3)
    await counters.forget(["b"], now + 31)
    assert await counters.waiting(["b"], now + 31) == 0


async def test_both_count_the_same(shared: RedisCounters) -> None:
    dice, local, now = random.Random(7), LocalCounters(), 1_800_000_000.0
    for step in range(300):
        now += dice.choice([0, 0.5, 3, 11, 60])
        keys = [dice.choice("ab"), dice.choice("xy")]
        verb = dice.choice(["hit", "hit", "hit", "waiting", "forget"])
        if verb == "hit":
            both = [await one.hit(keys, [RULE, FLAT], now) for one in (shared, local)]
        else:
            both = [await getattr(one, verb)(keys, now) for one in (shared, local)]
        assert both[0] == pytest.approx(both[1], abs=1e-3), (step, verb, keys)


async def test_memory_is_bounded() -> None:
    local = LocalCounters(most=10)
    for number in range(100):
        await local.hit([str(number)], [RULE], 0.0)
    assert len(local._states) == 10
