"""A job whose event loop is blocked ends its process; one that only waits does not."""

import subprocess
import sys

import pytest

JOB = """
import asyncio, sys, time
from pydantic import SecretStr
from sync import jobs, timings
from sync.settings import SyncSettings

timings.BLOCKED, timings.RENEWAL, timings.STATEMENT = 2, 0.2, 0.2
nowhere = SecretStr("postgresql://x:y@127.0.0.1:1/z")
settings = SyncSettings(database_url=nowhere, redis_url=SecretStr("redis://127.0.0.1:1"), sync_client_secret="x" * 40)

async def waits(settings, db):
    await asyncio.sleep(4)

async def blocks(settings, db):
    time.sleep(600)

asyncio.run(jobs._in_loop(globals()[sys.argv[1]], settings))
"""


@pytest.mark.parametrize(("job", "code"), [("waits", 0), ("blocks", 1)])
def test_only_a_blocked_job_is_ended(job: str, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", JOB, job], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    assert ("Timeout" in done.stderr) == (code == 1)
