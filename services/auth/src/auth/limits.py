"""Limits on guessing passwords and on registering, shared by all replicas through Redis.

When Redis is away the stance is to go on with the counters of this process: an attacker gets as many tries
more as there are replicas, and nobody is locked out. It is logged, and counted in
`products_auth_limits_fallbacks_total`.
"""

import hashlib
import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from auth.counters import Counters, LocalCounters, RedisCounters, Rule
from common.web.errors import TooManyRequests

__all__ = ["Limits"]

log = logging.getLogger(__name__)
FALLBACKS = Counter("products_auth_limits_fallbacks", "Limits decided by this process alone, for want of Redis.")

ACCOUNT = Rule(hits=5, window=900, wait=60, longest=900, memory=900)
ADDRESS = Rule(hits=20, window=60, wait=60, longest=60, memory=0)


class Limits:
    """What may be tried how often. Emails and addresses are kept as keyed hashes alone."""

    RETRY = 2.0

    def __init__(
        self,
        redis: Redis,
        *,
        pepper: str,
        registrations_per_minute: int,
        logins_per_minute: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._shared = RedisCounters(redis)
        self._local = LocalCounters()
        self._shared_again = float("-inf")
        self._pepper = hashlib.sha256(pepper.encode()).digest()
        self._clock = clock
        self._registration = _per_minute(registrations_per_minute)
        self._attempt = _per_minute(logins_per_minute)

    async def before_login(self, account: str, address: str) -> None:
        """Count an attempt of this address; raises TooManyRequests for too many of them.

        It also does while the account must wait at this address, or the address must and the account has failed
        there: somebody who comes to an address where others guess is let in.
        """
        attempts = [self._key("attempt", _network(address))]
        _refuse(await self._ask(lambda counters, now: counters.hit(attempts, (self._attempt,), now)))
        keys = self._login_keys(account, address)
        _refuse(await self._ask(lambda counters, now: counters.waiting(keys, now)))

    async def after_login(self, account: str, address: str, *, passed: bool) -> None:
        """Count a failure, or forget the account's failures after a success.

        Raises TooManyRequests if a wait began meanwhile: of many guesses sent at once no more get a true
        answer than of guesses sent one by one.
        """
        keys = self._login_keys(account, address)
        if passed:
            _refuse(await self._ask(lambda counters, now: counters.forget(keys, now)))
        else:
            _refuse(await self._ask(lambda counters, now: counters.hit(keys, (ACCOUNT, ADDRESS), now)))

    async def registration(self, address: str) -> None:
        """Count a registration; raises TooManyRequests for too many from one address."""
        keys = [self._key("register", _network(address))]
        _refuse(await self._ask(lambda counters, now: counters.hit(keys, (self._registration,), now)))

    def _login_keys(self, account: str, address: str) -> list[str]:
        network = _network(address)
        return [self._key("account", account, network), self._key("address", network)]

    def _key(self, *parts: str) -> str:
        return hashlib.blake2b("\n".join(parts).encode(), key=self._pepper, digest_size=16).hexdigest()

    async def _ask(self, question: Callable[[Counters, float], Awaitable[float]]) -> float:
        if time.monotonic() >= self._shared_again:
            try:
                return await question(self._shared, self._clock())
            except (RedisError, OSError) as error:
                self._shared_again = time.monotonic() + self.RETRY
                log.warning("limits are counted by this process alone: Redis: %s", type(error).__name__)
        FALLBACKS.inc()
        return await question(self._local, self._clock())


def _per_minute(hits: int) -> Rule:
    return Rule(hits=hits, window=60, wait=60, longest=60, memory=0)


def _refuse(wait: float) -> None:
    if wait > 0:
        raise TooManyRequests("Too many attempts; wait before the next one.", retry_after=wait)


def _network(address: str) -> str:
    """An IPv6 client has a whole /64 to itself."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if ip.version == 6:
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
