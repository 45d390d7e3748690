"""Rate limits: Redis and the process count the same."""

import random
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from auth.rate_limiter import LocalRateLimiter, RateLimit, RateLimiter, RedisRateLimiter

LIMIT = RateLimit(limit=3, window=100, base_delay=10, max_delay=40, cooldown=50)
FLAT = RateLimit(limit=4, window=30, base_delay=30, max_delay=30, cooldown=0)


@pytest.fixture
async def shared(valkey_url: str) -> AsyncIterator[RedisRateLimiter]:
    async with Redis.from_url(valkey_url) as client:
        await client.flushdb()
        yield RedisRateLimiter(client)


@pytest.fixture(params=["shared", "local"])
def limiter(request: pytest.FixtureRequest, shared: RedisRateLimiter) -> RateLimiter:
    return shared if request.param == "shared" else LocalRateLimiter()


async def test_hits_begin_waits_that_double(limiter: RateLimiter) -> None:
    now, waits = 1_800_000_000.0, []
    for _ in range(3):
        assert await limiter.hit(["a"], [LIMIT], now) == 0
    for _ in range(4):
        wait = await limiter.retry_after(["a"], now)
        waits.append(wait)
        assert await limiter.hit(["a"], [LIMIT], now + wait - 0.25) == pytest.approx(0.25, abs=1e-3)
        now += wait
        assert await limiter.hit(["a"], [LIMIT], now) == 0
    assert waits == pytest.approx([10, 20, 40, 40], abs=1e-3)
    assert await limiter.retry_after(["b"], now) == 0


async def test_a_window_and_a_memory_end(limiter: RateLimiter) -> None:
    now = 1_800_000_000.0
    for at in (0, 50, 101, 150):
        await limiter.hit(["a"], [LIMIT], now + at)
    assert await limiter.retry_after(["a"], now + 150) == 0
    await limiter.hit(["a"], [LIMIT], now + 160)
    assert await limiter.retry_after(["a"], now + 160) == pytest.approx(10, abs=1e-3)
    await limiter.hit(["a"], [LIMIT], now + 160 + 10 + 51)
    assert await limiter.retry_after(["a"], now + 160 + 10 + 51) == 0


async def test_forgetting_clears_the_first_alone_and_not_a_wait(limiter: RateLimiter) -> None:
    now = 1_800_000_000.0
    for _ in range(2):
        await limiter.hit(["a", "b"], [LIMIT, FLAT], now)
    assert await limiter.reset(["a", "b"], now) == 0
    for _ in range(2):
        await limiter.hit(["a", "b"], [LIMIT, FLAT], now)
    assert await limiter.retry_after(["a"], now) == 0
    assert await limiter.reset(["a", "b"], now) == pytest.approx(30, abs=1e-3)
    await limiter.reset(["b"], now + 31)
    assert await limiter.retry_after(["b"], now + 31) == 0


async def test_both_count_the_same(shared: RedisRateLimiter) -> None:
    dice, local, now = random.Random(7), LocalRateLimiter(), 1_800_000_000.0
    for step in range(300):
        now += dice.choice([0, 0.5, 3, 11, 60])
        keys = [dice.choice("ab"), dice.choice("xy")]
        verb = dice.choice(["hit", "hit", "hit", "retry_after", "reset"])
        if verb == "hit":
            both = [await one.hit(keys, [LIMIT, FLAT], now) for one in (shared, local)]
        else:
            both = [await getattr(one, verb)(keys, now) for one in (shared, local)]
        assert both[0] == pytest.approx(both[1], abs=1e-3), (step, verb, keys)


async def test_memory_is_bounded() -> None:
    local = LocalRateLimiter(max_keys=10)
    for number in range(100):
        await local.hit([str(number)], [LIMIT], 0.0)
    assert len(local._states) == 10
