"""What one process is: how to start it, how to see that it is ready, how to stop it."""

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from stack.account import Account

__all__ = ["Spec", "Stage"]


class Stage(IntEnum):
    """The order of stopping: who asks stops before who answers."""

    SCHEDULER = 1
    WORKER = 2
    GATEWAY = 3
    API = 4
    PROVIDER = 5
    VALKEY = 6
    POSTGRES = 7


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One process of the stack. `env` is its whole environment; `before_start` clears what a crash of it left;
    `death_signal` comes when the launcher was killed."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    stage: Stage
    url: str | None = None
    metrics_url: str | None = None
    health_url: str | None = None
    account: Account | None = None
    grace: float = 3.0
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGTERM
    before_start: Callable[[], None] | None = None
