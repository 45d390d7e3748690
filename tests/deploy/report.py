"""What was expected and what was seen, as a Markdown table that grows while the run goes on."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Report"]


@dataclass
class Report:
    """Rows of one run; `failed` counts those that were not as expected. Beside each is what `machine` tells."""

    machine: Callable[[], str]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    failed: int = 0
    began: float = field(default_factory=time.monotonic)

    def check(self, part: str, what: str, expected: object, seen: object, ok: bool | None = None) -> bool:
        """Note one observation; without `ok` it is right when `seen` equals `expected`."""
        right = seen == expected if ok is None else ok
        self.failed += not right
        self.rows.append((part, what, str(expected), str(seen), "ok" if right else "FAILED", self.machine()))
        self.say(f"{'ok    ' if right else 'FAILED'} {part}: {what}: {seen}" + ("" if right else f", not {expected}"))
        return right

    def note(self, part: str, what: str, seen: object) -> None:
        """A figure without a bound."""
        self.rows.append((part, what, "", str(seen), "", self.machine()))
        self.say(f"       {part}: {what}: {seen}")

    def say(self, text: str) -> None:
        """Progress, on standard error."""
        print(f"[{time.monotonic() - self.began:5.0f} s] {text}", file=sys.stderr, flush=True)

    def __str__(self) -> str:
        head = ("part", "check", "expected", "seen", "verdict", "machine meanwhile")
        lines = [head, tuple("---" for _ in head), *self.rows]
        return "\n".join(
            f"| {' | '.join(' '.join(cell.split()).replace('|', '/') for cell in line)} |" for line in lines
        )
