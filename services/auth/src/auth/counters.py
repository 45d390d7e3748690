"""Counters of hits that make the next one wait: in Redis for all replicas, or in this process."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from redis.asyncio import Redis

__all__ = ["Counters", "LocalCounters", "RedisCounters", "Rule"]


@dataclass(frozen=True, slots=True)
class Rule:
    """`hits` in `window` seconds begin a wait of `wait` seconds, doubled by each hit after it up to `longest`.

    The count is kept for `memory` seconds after a wait.
    """

    hits: int
    window: float
    wait: float
    longest: float
    memory: float


class Counters(Protocol):
    """Each call is atomic, and answers the seconds still to wait, 0 for none.

    Those are the first key's, and the second one's too if there have been hits on the first.
    """

    async def waiting(self, keys: Sequence[str], now: float) -> float:
        """Only ask."""

    async def hit(self, keys: Sequence[str], rules: Sequence[Rule], now: float) -> float:
        """Count a hit on each key by its rule, unless one is waiting."""

    async def forget(self, keys: Sequence[str], now: float) -> float:
        """Clear the first key, unless one is waiting."""


# The state of a key is a hash: n hits, none allowed before `till`, forgotten at `forget`.
_SCRIPT = """
local now, verb = tonumber(ARGV[1]), ARGV[2]
local function time(key, field) return tonumber(redis.call('HGET', key, field) or '0') - now end
local wait = math.max(0, time(KEYS[1], 'till'))
if KEYS[2] and time(KEYS[1], 'forget') > 0 then wait = math.max(wait, time(KEYS[2], 'till')) end
if wait > 0 or verb == 'waiting' then return tostring(wait) end
if verb == 'forget' then redis.call('DEL', KEYS[1]) return '0' end
for i, key in ipairs(KEYS) do
  local rule = {}
  for j = 1, 5 do rule[j] = tonumber(ARGV[i * 5 - 3 + j]) end
  local hits, window, first, longest, memory = unpack(rule)
  local n, till = tonumber(redis.call('HGET', key, 'n') or '0'), 0
  local forget = tonumber(redis.call('HGET', key, 'forget') or '0')
  if now >= forget then n, forget = 0, now + window end
  n = n + 1
  if n >= hits then
    till = now + math.min(longest, first * 2 ^ math.min(n - hits, 30))
    forget = till + memory
  end
  local function exact(number) return string.format('%.6f', number) end
  redis.call('HSET', key, 'n', n, 'till', exact(till), 'forget', exact(forget))
  redis.call('PEXPIRE', key, math.ceil((forget - now) * 1000) + 1000)
end
return '0'
"""


class RedisCounters:
    """Shared by all processes. `now` comes from the callers, whose clocks agree to well below a wait."""

    def __init__(self, redis: Redis) -> None:
        self._script = redis.register_script(_SCRIPT)

    async def waiting(self, keys: Sequence[str], now: float) -> float:
        return await self._run("waiting", keys, (), now)

    async def hit(self, keys: Sequence[str], rules: Sequence[Rule], now: float) -> float:
        return await self._run("hit", keys, rules, now)

    async def forget(self, keys: Sequence[str], now: float) -> float:
        return await self._run("forget", keys, (), now)

    async def _run(self, verb: str, keys: Sequence[str], rules: Sequence[Rule], now: float) -> float:
        numbers = [n for rule in rules for n in (rule.hits, rule.window, rule.wait, rule.longest, rule.memory)]
        names = [f"auth:limit:{key}" for key in keys]
        return float(await self._script(keys=names, args=[f"{now:.6f}", verb, *numbers]))


@dataclass(slots=True)
class _State:
    hits: int = 0
    till: float = 0.0
    forget: float = 0.0


class LocalCounters:
    """Of one process; remembers the `most` keys last hit."""

    def __init__(self, most: int = 20_000) -> None:
        self._states: OrderedDict[str, _State] = OrderedDict()
        self._most = most

    async def waiting(self, keys: Sequence[str], now: float) -> float:
        first, *others = (self._states.get(key, _State()) for key in keys)
        counted = [first, *others] if first.forget > now else [first]
        return max(0.0, *(state.till - now for state in counted))

    async def hit(self, keys: Sequence[str], rules: Sequence[Rule], now: float) -> float:
        if wait := await self.waiting(keys, now):
            return wait
        for key, rule in zip(keys, rules, strict=True):
            self._count(self._states.setdefault(key, _State()), rule, now)
            self._states.move_to_end(key)
        while len(self._states) > self._most:
            self._states.popitem(last=False)
        return 0.0

    async def forget(self, keys: Sequence[str], now: float) -> float:
        if wait := await self.waiting(keys, now):
            return wait
        self._states.pop(keys[0], None)
        return 0.0

    @staticmethod
    def _count(state: _State, rule: Rule, now: float) -> None:
        if now >= state.forget:
            state.hits, state.forget = 0, now + rule.window
        state.hits += 1
        if state.hits >= rule.hits:
            state.till = now + min(rule.longest, rule.wait * 2 ** min(state.hits - rule.hits, 30))
            state.forget = state.till + rule.memory
