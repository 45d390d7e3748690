"""The progress of a run as Server-Sent Events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID

import msgspec
import psycopg

from common.deadlines import start_deadline
from common.health import Health
from common.postgres import Postgres
from common.web.errors import Unavailable
from sync import history
from sync.runs import RunRow
from sync.schemas import RunOut
from sync.states import WORKING, RunState

__all__ = ["Streams", "follow"]

PAUSE = 1.0
# Proxies end what is silent for longer.
SILENCE = 15.0
_MOVING = (RunState.QUEUED, *WORKING)


class Streams:
    """How many clients follow runs: each asks PostgreSQL once a second."""

    MOST = 100

    def __init__(self) -> None:
        self._open = 0

    def limited(self, lines: AsyncIterator[str]) -> AsyncIterator[str]:
        """The same lines; raises Unavailable if there are too many already."""
        if self._open >= self.MOST:
            raise Unavailable(f"{self.MOST} clients follow runs already: ask for the run itself.", retry_after=5)
        self._open += 1
        return self._counted(lines)

    async def _counted(self, lines: AsyncIterator[str]) -> AsyncIterator[str]:
        try:
            async for line in lines:
                yield line
        finally:
            self._open -= 1


async def follow(db: Postgres, run_id: UUID, health: Health) -> AsyncIterator[str]:
    """An event `run` with the whole run whenever it has changed, until it ends, waits for an admin, or we drain.

    A client that connects again gets the run as it is then.
    """
    told: RunRow | None = None
    silent = 0.0
    while not health.draining:
        # Each question has its own time: the request goes on for hours.
        start_deadline()
        with suppress(psycopg.OperationalError):
            run = msgspec.structs.replace(await history.get_run(db, run_id), heartbeat_at=None)
            if run != told:
                yield f"event: run\ndata: {RunOut.of(run).model_dump_json()}\n\n"
                told, silent = run, 0.0
            if run.state not in _MOVING:
                return
        await asyncio.sleep(PAUSE)
        silent += PAUSE
        if silent >= SILENCE:
            yield ": still there\n\n"
            silent = 0.0
