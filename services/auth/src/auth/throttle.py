"""Limits on guessing passwords and on registering, shared by all replicas through Redis.

Without Redis each process counts for itself: an attacker has as many more attempts as there are replicas, and nobody is
locked out. That is logged, and counted in `products_auth_limits_fallbacks_total`.
"""

import hashlib
import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from auth.rate_limiter import LocalRateLimiter, RateLimit, RateLimiter, RedisRateLimiter
from common.web.errors import TooManyRequests

__all__ = ["LoginThrottle"]

log = logging.getLogger(__name__)
FALLBACKS = Counter("products_auth_limits_fallbacks", "Limits that a process counted alone, because Redis was down.")

ACCOUNT_FAILURES = RateLimit(limit=5, window=900, base_delay=60, max_delay=900, cooldown=900)
ADDRESS_FAILURES = RateLimit(limit=20, window=60, base_delay=60, max_delay=60, cooldown=0)


class LoginThrottle:
    """Limits logins by account and client address, and registrations by client address.

    Emails and addresses are stored as keyed hashes only.
    """

    # So long Redis is not asked after an error.
    RETRY_SECONDS = 2.0

    def __init__(
        self,
        redis: Redis,
        *,
        pepper: str,
        registrations_per_minute: int,
        logins_per_minute: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._shared = RedisRateLimiter(redis)
        self._local = LocalRateLimiter()
        self._retry_redis_at = float("-inf")
        self._pepper = hashlib.sha256(pepper.encode()).digest()
        self._clock = clock
        self._registrations = _per_minute(registrations_per_minute)
        self._attempts = _per_minute(logins_per_minute)

    async def begin_login(self, account: str, client_ip: str) -> None:
        """Count an attempt of this address; raises TooManyRequests when there were too many.

        Also raises it while the account is blocked at this address, and while the address is blocked and the account
        has failed there. An account that has not failed is let in: others may be guessing at the same address.
        """
        attempts = [self._key("attempt", _network(client_ip))]
        await self._check(lambda limiter, now: limiter.hit(attempts, (self._attempts,), now))
        keys = self._login_keys(account, client_ip)
        await self._check(lambda limiter, now: limiter.retry_after(keys, now))

    async def end_login(self, account: str, client_ip: str, *, succeeded: bool) -> None:
        """Count a failure, or forget the account's failures after a success.

        Raises TooManyRequests if the account or address has been blocked meanwhile, so that guesses sent at the same
        time get no more answers than guesses sent one by one.
        """
        keys = self._login_keys(account, client_ip)
        if succeeded:
            await self._check(lambda limiter, now: limiter.reset(keys, now))
        else:
            await self._check(lambda limiter, now: limiter.hit(keys, (ACCOUNT_FAILURES, ADDRESS_FAILURES), now))

    async def begin_registration(self, client_ip: str) -> None:
        """Count a registration of this address; raises TooManyRequests when there were too many."""
        keys = [self._key("register", _network(client_ip))]
        await self._check(lambda limiter, now: limiter.hit(keys, (self._registrations,), now))

    def _login_keys(self, account: str, client_ip: str) -> list[str]:
        network = _network(client_ip)
        return [self._key("account", account, network), self._key("address", network)]

    def _key(self, *parts: str) -> str:
        return hashlib.blake2b("\n".join(parts).encode(), key=self._pepper, digest_size=16).hexdigest()

    async def _check(self, ask: Callable[[RateLimiter, float], Awaitable[float]]) -> None:
        if (retry_after := await self._ask(ask)) > 0:
            raise TooManyRequests("Too many attempts; wait before the next one.", retry_after=retry_after)

    async def _ask(self, ask: Callable[[RateLimiter, float], Awaitable[float]]) -> float:
        if time.monotonic() >= self._retry_redis_at:
            try:
                return await ask(self._shared, self._clock())
            except (RedisError, OSError) as error:
                self._retry_redis_at = time.monotonic() + self.RETRY_SECONDS
                log.warning("this process counts its limits alone: Redis: %s", type(error).__name__)
        FALLBACKS.inc()
        return await ask(self._local, self._clock())


def _per_minute(limit: int) -> RateLimit:
    return RateLimit(limit=limit, window=60, base_delay=60, max_delay=60, cooldown=0)


def _network(client_ip: str) -> str:
    """The address; of IPv6 its /64, which one client has to itself."""
    try:
        ip = ipaddress.ip_address(client_ip)
    except ValueError:
        return client_ip[:64]
    if ip.version == 6:
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
