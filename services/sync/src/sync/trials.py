"""Tries a source in a process of its own, with limits of time, output and number."""

import asyncio
import os
import signal
import sys
from contextlib import suppress

import msgspec

from common.json_encoding import dumps
from common.web.errors import Unavailable
from sync.errors import SourceFailed
from sync.trial import Trial, TrialResult

__all__ = ["Trials"]

# The gateway waits for 10 s.
SECONDS = 8.0
MAX_OUTPUT = 4 * 1024 * 1024


class Trials:
    """Those of one process, a few at a time."""

    MOST = 2

    def __init__(self) -> None:
        self._running = 0

    async def run(self, trial: Trial) -> TrialResult:
        """Raises Unavailable while there are too many, and SourceFailed with what the provider says."""
        if self._running >= self.MOST:
            raise Unavailable("Too many sources are tried at once.", retry_after=int(SECONDS))
        self._running += 1
        try:
            result = await _in_process(trial)
        finally:
            self._running -= 1
        if result.error is not None and result.proposal is None:
            raise SourceFailed(result.error)
        return result


async def _in_process(trial: Trial) -> TrialResult:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sync", "try"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        limit=MAX_OUTPUT,
    )
    assert process.stdin
    assert process.stdout
    try:
        async with asyncio.timeout(SECONDS):
            process.stdin.write(dumps(trial))
            process.stdin.close()
            output = await process.stdout.read(MAX_OUTPUT + 1)
            while len(output) <= MAX_OUTPUT and (more := await process.stdout.read(MAX_OUTPUT)):
                output += more
        return msgspec.json.decode(output, type=TrialResult)
    except TimeoutError:
        raise SourceFailed(f"The source did not answer within {SECONDS:g} s.") from None
    except (msgspec.DecodeError, ConnectionError):
        raise SourceFailed("The provider has ended its process, or answers more than 4 MB.") from None
    finally:
        # With what it may have started.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
