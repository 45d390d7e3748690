"""Fixtures are modules; this file only names them, and gives every test an end."""

import faulthandler
import signal
import sys
from collections.abc import Iterator
from types import FrameType

import pytest

FIXTURES = ("stack", "databases", "processes", "catalog", "queries")
pytest_plugins = [f"tests.fixtures.{module}" for module in FIXTURES]

# A shell that starts the tests in the background has them ignore SIGINT, and so all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Seconds of one test with its fixtures: ten times what the longest takes on a machine with nothing else to do.
TEST_SECONDS = 240


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Fail a test that hangs, and show where each thread is, rather than wait for ever."""

    def give_up(number: int, frame: FrameType | None) -> None:
        faulthandler.dump_traceback(sys.__stderr__ or 2, all_threads=True)
        pytest.fail(f"{item.nodeid} did not end within {TEST_SECONDS} s")

    seconds = 0 if item.get_closest_marker("chaos") else TEST_SECONDS
    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
