"""Password hashing: Argon2id on a few threads of its own, with a bounded queue."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from passlib.context import CryptContext  # type: ignore[import-untyped]

from common import context
from common.errors import Unavailable

__all__ = ["Passwords"]

T = TypeVar("T")
# Made with the parameters below, so that an unknown user takes as long as a known one.
NOBODYS = "$argon2id$v=19$m=19456,t=2,p=1$732PESJEiFHKeS9ljLFWag$W6KETX4AbbQV2Nc1/f3pn1nAkv9Pw5bULaNDATUg1wA"


class Passwords:
    """Hashes and verifies without holding up the event loop; ask without holding a database connection.

    More threads than cores hash fewer passwords, and a longer queue only makes everyone wait: beyond it
    callers get 503.
    """

    QUEUE = 50

    def __init__(self) -> None:
        # OWASP's least for Argon2id: 25 to 45 ms of one core. passlib's own default takes 130 ms and 64 MB.
        self._hasher = CryptContext(
            ["argon2"], argon2__type="ID", argon2__memory_cost=19456, argon2__time_cost=2, argon2__parallelism=1
        )
        self._threads = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="passwords")
        self._pending = 0

    async def hash(self, password: str) -> str:
        return await self._run(lambda: str(self._hasher.hash(password)))

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Whether `password` made `hashed`; takes as long, and is False, for None (an unknown user)."""
        matches = await self._run(lambda: self._hasher.verify(password, hashed or NOBODYS))
        return bool(matches) and hashed is not None

    async def _run(self, work: Callable[[], T]) -> T:
        if self._pending >= self._threads + self.QUEUE:
            raise Unavailable("Too many log in at once; try again.")
        self._pending += 1
        try:
            with context.extended():
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._pending -= 1

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
