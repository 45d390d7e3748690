"""Commands and waits of the tests on real servers; both tell in one line what did not come to its end."""

import shlex
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import httpx

__all__ = ["ROOT", "Failed", "run", "until"]

ROOT = Path(__file__).parents[2]
T = TypeVar("T")


class Failed(Exception):
    """A command or a wait that did not come to its end."""


def run(
    *command: str,
    stdin: str | None = None,
    timeout: float = 120,
    check: bool = True,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
) -> str:
    """Standard output; raises Failed with what the command printed."""
    shown = shlex.join(command)[:200]
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False, cwd=cwd, env=env
        )
    except FileNotFoundError:
        raise Failed(f"{command[0]} is not on PATH") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"{shown}: not done within {timeout:g} s") from None
    if check and done.returncode:
        raise Failed(f"{shown}: {(done.stderr or done.stdout).strip()[-1500:]}")
    return done.stdout


def until(what: str, condition: Callable[[], T], seconds: float = 60) -> T:
    """Look often until `condition` gives something true; a broken connection is not yet. Failed after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(httpx.HTTPError):
            if value := condition():
                return value
        time.sleep(0.2)
    raise Failed(f"{what}: not within {seconds:g} s")
