"""Password hashing: Argon2id on a few threads of its own, with a bounded, fair queue."""

import asyncio
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from passlib.context import CryptContext  # type: ignore[import-untyped]

from auth.fair_queue import FairQueue
from common.deadlines import paused_deadline

__all__ = ["Passwords", "cpus"]

T = TypeVar("T")
# A thread needs 19 MB while it hashes.
MAX_THREADS = 4
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
# Verified in place of an unknown account's hash, with the same parameters, so that both take equally long.
DUMMY_HASH = "$argon2id$v=19$m=19456,t=2,p=1$732PESJEiFHKeS9ljLFWag$W6KETX4AbbQV2Nc1/f3pn1nAkv9Pw5bULaNDATUg1wA"


class Passwords:
    """Hashes and verifies passwords without blocking the event loop. Hold no database connection meanwhile.

    There are as many threads as CPUs, since more would not hash faster, and the queue is short, since a longer one only
    makes everyone wait. `account` and `address` say for whom it is; they take turns.
    """

    def __init__(self) -> None:
        # The least that OWASP advises for Argon2id: 25 to 45 ms of one core. passlib's default takes 130 ms and 64 MB.
        self._hasher = CryptContext(
            ["argon2"], argon2__type="ID", argon2__memory_cost=19456, argon2__time_cost=2, argon2__parallelism=1
        )
        threads = min(MAX_THREADS, cpus())
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="passwords")
        self._queue = FairQueue(threads)

    async def hash(self, password: str, *, account: str = "", address: str = "") -> str:
        return await self._run(lambda: str(self._hasher.hash(password)), account, address)

    async def verify(self, password: str, hashed: str | None, *, account: str = "", address: str = "") -> bool:
        """Whether `password` made `hashed`. For None, an unknown account, it is False and takes as long."""
        matches = await self._run(lambda: self._hasher.verify(password, hashed or DUMMY_HASH), account, address)
        return bool(matches) and hashed is not None

    async def _run(self, work: Callable[[], T], account: str, address: str) -> T:
        with paused_deadline():
            await self._queue.acquire(account, address)
            hashing = asyncio.get_running_loop().run_in_executor(self._pool, work)
            # Released when the thread is done, also if the caller is cancelled before: a thread cannot be stopped.
            hashing.add_done_callback(lambda _: self._queue.release())
            return await asyncio.shield(hashing)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def cpus(quota_file: Path = CPU_QUOTA) -> int:
    """How many CPUs this process may use: in a container its cgroup v2 quota, not all cores of the node."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = quota_file.read_text().split()
    except (OSError, ValueError):
        return available
    return available if quota == "max" else max(1, min(available, math.ceil(int(quota) / int(period))))
