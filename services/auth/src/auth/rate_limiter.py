"""Rate limits that count by key: in Redis for all replicas, or in this process."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from redis.asyncio import Redis

__all__ = ["LocalRateLimiter", "RateLimit", "RateLimiter", "RedisRateLimiter"]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The hit number `limit` within `window` seconds blocks its key for `base_delay` seconds.

    Each further hit doubles the delay, up to `max_delay`. Hits are forgotten `cooldown` seconds after a delay.
    """

    limit: int
    window: float
    base_delay: float
    max_delay: float
    cooldown: float


class RateLimiter(Protocol):
    """Each call is atomic. It returns for how many seconds the keys are still blocked, and changes nothing while they
    are; 0 if they are not.

    The first key counts always, the second one only if there have been hits on the first.
    """

    async def retry_after(self, keys: Sequence[str], now: float) -> float:
        """Change nothing."""

    async def hit(self, keys: Sequence[str], limits: Sequence[RateLimit], now: float) -> float:
        """Count a hit on each key, with the limit at the same place."""

    async def reset(self, keys: Sequence[str], now: float) -> float:
        """Forget the hits on the first key."""


# A key is a hash: `n` hits, blocked until `till`, forgotten at `forget`.
_SCRIPT = """
local now, command = tonumber(ARGV[1]), ARGV[2]
local function seconds_until(key, field) return tonumber(redis.call('HGET', key, field) or '0') - now end
local blocked = math.max(0, seconds_until(KEYS[1], 'till'))
if KEYS[2] and seconds_until(KEYS[1], 'forget') > 0 then blocked = math.max(blocked, seconds_until(KEYS[2], 'till')) end
if blocked > 0 or command == 'retry_after' then return tostring(blocked) end
if command == 'reset' then redis.call('DEL', KEYS[1]) return '0' end
for i, key in ipairs(KEYS) do
  local numbers = {}
  for j = 1, 5 do numbers[j] = tonumber(ARGV[i * 5 - 3 + j]) end
  local limit, window, base_delay, max_delay, cooldown = unpack(numbers)
  local n, till = tonumber(redis.call('HGET', key, 'n') or '0'), 0
  local forget = tonumber(redis.call('HGET', key, 'forget') or '0')
  if now >= forget then n, forget = 0, now + window end
  n = n + 1
  if n >= limit then
    till = now + math.min(max_delay, base_delay * 2 ^ math.min(n - limit, 30))
    forget = till + cooldown
  end
  local function exact(number) return string.format('%.6f', number) end
  redis.call('HSET', key, 'n', n, 'till', exact(till), 'forget', exact(forget))
  redis.call('PEXPIRE', key, math.ceil((forget - now) * 1000) + 1000)
end
return '0'
"""


class RedisRateLimiter:
    """Shared by all processes. `now` is the caller's time: clocks must agree to well below a delay."""

    def __init__(self, redis: Redis) -> None:
        self._script = redis.register_script(_SCRIPT)

    async def retry_after(self, keys: Sequence[str], now: float) -> float:
        return await self._run("retry_after", keys, (), now)

    async def hit(self, keys: Sequence[str], limits: Sequence[RateLimit], now: float) -> float:
        return await self._run("hit", keys, limits, now)

    async def reset(self, keys: Sequence[str], now: float) -> float:
        return await self._run("reset", keys, (), now)

    async def _run(self, command: str, keys: Sequence[str], limits: Sequence[RateLimit], now: float) -> float:
        numbers = [n for it in limits for n in (it.limit, it.window, it.base_delay, it.max_delay, it.cooldown)]
        names = [f"auth:limit:{key}" for key in keys]
        return float(await self._script(keys=names, args=[f"{now:.6f}", command, *numbers]))


@dataclass(slots=True)
class _State:
    hits: int = 0
    blocked_until: float = 0.0
    forgotten_at: float = 0.0


class LocalRateLimiter:
    """Of one process. It keeps the `max_keys` keys that were hit last."""

    def __init__(self, max_keys: int = 20_000) -> None:
        self._states: OrderedDict[str, _State] = OrderedDict()
        self._max_keys = max_keys

    async def retry_after(self, keys: Sequence[str], now: float) -> float:
        first, *others = (self._states.get(key, _State()) for key in keys)
        counted = [first, *others] if first.forgotten_at > now else [first]
        return max(0.0, *(state.blocked_until - now for state in counted))

    async def hit(self, keys: Sequence[str], limits: Sequence[RateLimit], now: float) -> float:
        if blocked := await self.retry_after(keys, now):
            return blocked
        for key, limit in zip(keys, limits, strict=True):
            self._count(self._states.setdefault(key, _State()), limit, now)
            self._states.move_to_end(key)
        while len(self._states) > self._max_keys:
            self._states.popitem(last=False)
        return 0.0

    async def reset(self, keys: Sequence[str], now: float) -> float:
        if blocked := await self.retry_after(keys, now):
            return blocked
        self._states.pop(keys[0], None)
        return 0.0

    @staticmethod
    def _count(state: _State, limit: RateLimit, now: float) -> None:
        if now >= state.forgotten_at:
            state.hits, state.forgotten_at = 0, now + limit.window
        state.hits += 1
        if state.hits >= limit.limit:
            delay = min(limit.max_delay, limit.base_delay * 2 ** min(state.hits - limit.limit, 30))
            state.blocked_until = now + delay
            state.forgotten_at = state.blocked_until + limit.cooldown
