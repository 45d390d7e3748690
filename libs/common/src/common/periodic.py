"""Work that a service repeats by itself, in every replica: it has to be safe to do twice."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

__all__ = ["repeated"]

log = logging.getLogger(__name__)


@asynccontextmanager
async def repeated(name: str, work: Callable[[], Awaitable[object]], seconds: float) -> AsyncIterator[None]:
    """Inside the block, `work` is done about every `seconds`, for the first time soon; what it raises is logged with
    its `name`.
    """
    task = asyncio.create_task(_repeat(name, work, seconds))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _repeat(name: str, work: Callable[[], Awaitable[object]], seconds: float) -> None:
    # Spread, so that replicas that start together do not work together.
    await asyncio.sleep(random.uniform(0, min(seconds, 10)))  # noqa: S311
    while True:
        try:
            await work()
        except Exception as error:
            log.warning("%s failed: %s: %s", name, type(error).__name__, error)
        await asyncio.sleep(seconds * random.uniform(0.9, 1.1))  # noqa: S311
