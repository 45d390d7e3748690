"""Password hashing: Argon2id on a few threads of its own, by turns, with a bounded queue."""

import asyncio
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from passlib.context import CryptContext  # type: ignore[import-untyped]

from auth.turns import Turns
from common.deadlines import paused_deadline

__all__ = ["Passwords", "cpus"]

T = TypeVar("T")
# Each thread takes 19 MB while it hashes.
MAX_THREADS = 4
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
# Made with the parameters below, so that an unknown user takes as long as a known one.
NOBODYS = "$argon2id$v=19$m=19456,t=2,p=1$732PESJEiFHKeS9ljLFWag$W6KETX4AbbQV2Nc1/f3pn1nAkv9Pw5bULaNDATUg1wA"


class Passwords:
    """Hashes and verifies without holding up the event loop; ask without holding a database connection.

    More threads than cores hash fewer passwords, and a longer queue only makes everyone wait. `account` and
    `address` say who asks: they take turns.
    """

    def __init__(self) -> None:
        # OWASP's least for Argon2id: 25 to 45 ms of one core. passlib's own default takes 130 ms and 64 MB.
        self._hasher = CryptContext(
            ["argon2"], argon2__type="ID", argon2__memory_cost=19456, argon2__time_cost=2, argon2__parallelism=1
        )
        threads = min(MAX_THREADS, cpus())
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="passwords")
        self._turns = Turns(threads)

    async def hash(self, password: str, *, account: str = "", address: str = "") -> str:
        return await self._run(lambda: str(self._hasher.hash(password)), account, address)

    async def verify(self, password: str, hashed: str | None, *, account: str = "", address: str = "") -> bool:
        """Whether `password` made `hashed`; takes as long, and is False, for None (an unknown user)."""
        matches = await self._run(lambda: self._hasher.verify(password, hashed or NOBODYS), account, address)
        return bool(matches) and hashed is not None

    async def _run(self, work: Callable[[], T], account: str, address: str) -> T:
        with paused_deadline():
            await self._turns.begin(account, address)
            hashing = asyncio.get_running_loop().run_in_executor(self._pool, work)
            # Not when the caller goes away: a thread that works cannot be stopped.
            hashing.add_done_callback(lambda _: self._turns.end())
            return await asyncio.shield(hashing)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def cpus(quota_file: Path = CPU_QUOTA) -> int:
    """CPUs that this process may use: a container has its cgroup's quota (cgroup v2), not all of the node's cores."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = quota_file.read_text().split()
    except (OSError, ValueError):
        return available
    return available if quota == "max" else max(1, min(available, math.ceil(int(quota) / int(period))))
