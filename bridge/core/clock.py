"""The only place that reads the wall clock; everything else is handed a Clock."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

IST = ZoneInfo("Asia/Kolkata")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
# Clocks are corrected backwards by so little all the time.
_SLEW = timedelta(seconds=1)


class Clock(Protocol):
    """Time as an input: aware UTC for facts, monotonic seconds for durations."""

    def now(self) -> datetime:
        """The present, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards; only differences mean anything."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The present, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic()


def elapsed(since: datetime, now: datetime) -> timedelta:
    """How long ago that was. A time to come, as after a clock was set back, counts as long past: nothing may wait for it."""
    age = now - since
    if age >= timedelta():
        return age
    return timedelta() if age > -_SLEW else timedelta.max


def to_us(at: datetime) -> int:
    """Microseconds since 1970 UTC, exact; a naive datetime raises TypeError."""
    return (at - EPOCH) // _US


def from_us(us: int) -> datetime:
    """The aware UTC datetime of `to_us`."""
    return EPOCH + timedelta(microseconds=us)


def market_day(at: datetime) -> int:
    """The calendar day in India as YYYYMMDD: days of profit, loss and sessions turn at midnight IST."""
    local = at.astimezone(IST)
    return local.year * 10_000 + local.month * 100 + local.day


def iso(at: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, for answers and pages."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
