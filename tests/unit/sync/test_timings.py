"""The relations between the times of a sync are checked when they are imported."""

from pathlib import Path

import pytest

from sync import timings

SOURCE = Path(timings.__file__).read_text("utf-8")
# For each relation a value that breaks it.
BREAKS = [
    ("RENEWAL", 6), ("LEASE", 8), ("BLOCKED", 10), ("GRACE", 20), ("JOB_LIMIT", 28 * 60), ("RETRY", 80), ("DEDUP", 4),
    ("PASS", 3), ("TAKEOVER", 14), ("SLOT_TOLERANCE", 30), ("STATEMENT", 14), ("ALIVE", 6), ("FORGET", 15),
    ("FIRST_RETRY", 61),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BREAKS, ids=[f"{name}={value}" for name, value in BREAKS])
def test_a_time_that_does_not_fit_the_others_is_refused(name: str, value: int) -> None:
    lines = [f"{name} = {value}" if line.startswith(f"{name} = ") else line for line in SOURCE.splitlines()]
    with pytest.raises(AssertionError):
        exec("\n".join(lines), {})


def test_as_they_are_they_fit() -> None:
    exec(SOURCE, {})
