"""When a source's runs are due: every so many minutes, or by a cron expression in a time zone."""

import math
from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo

import msgspec

__all__ = ["Schedule", "check_cron", "check_timezone"]

_MAX_CRON = 100


class Schedule(msgspec.Struct, frozen=True):
    """An interval in seconds, or a cron expression of five fields. All times are Unix seconds."""

    interval: int | None = None
    cron: str | None = None
    timezone: str = "UTC"

    def next_after(self, now: float) -> float | None:
        """When the next run is due; None if none ever is."""
        if self.cron:
            return self._occurrence(now, forward=True)
        return (now // self.interval + 1) * self.interval if self.interval else None

    def slot(self, now: float) -> int:
        """The number of the slot that `now` is in: of the interval since 1970, or the time of the last occurrence."""
        if self.cron:
            # An occurrence at `now` itself has begun.
            return int(self._occurrence(math.floor(now) + 1, forward=False) or 0)
        return int(now // self.interval) if self.interval else 0

    def is_overdue(self, newest: float, now: float) -> bool:
        """Whether a run should have come since the `newest` one was asked for."""
        return newest < (self.slot(now) if self.cron else now - (self.interval or math.inf))

    def _occurrence(self, now: float, *, forward: bool) -> float | None:
        # Only sources with an expression need it.
        from croniter import CroniterBadDateError, croniter

        assert self.cron
        iterator = croniter(self.cron, datetime.fromtimestamp(now, _zone(self.timezone)), max_years_between_matches=5)
        try:
            found: datetime = iterator.get_next(datetime) if forward else iterator.get_prev(datetime)
        except CroniterBadDateError:
            return None
        return found.timestamp()


def _zone(name: str) -> tzinfo:
    return ZoneInfo(name)


def check_cron(value: str) -> str:
    """Raises ValueError for what is no cron expression of five fields."""
    from croniter import croniter

    if len(value) > _MAX_CRON or len(value.split()) != 5 or not croniter.is_valid(value):
        raise ValueError('must be a cron expression of five fields, such as "0 */2 * * *"')
    return value


def check_timezone(value: str) -> str:
    """Raises ValueError for what is no time zone of the IANA database."""
    try:
        if len(value) > _MAX_CRON:
            raise ValueError
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError('must be a time zone such as "UTC" or "Europe/Berlin"') from None
    return value
