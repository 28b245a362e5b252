"""Bar: what was traded of an instrument in one interval of time; a bar counts once its interval is over."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from bridge.core.clock import IST


class Interval(StrEnum):
    """How long a bar is. Bars of a day begin at midnight in India; the others count from the exchange's opening."""

    MINUTE = "1m"
    MINUTES_3 = "3m"
    MINUTES_5 = "5m"
    MINUTES_10 = "10m"
    MINUTES_15 = "15m"
    MINUTES_30 = "30m"
    HOUR = "60m"
    DAY = "1d"

    @property
    def length(self) -> timedelta:
        """From the opening of a bar to its close."""
        return timedelta(days=1) if self is Interval.DAY else timedelta(minutes=int(self[:-1]))

    @property
    def seconds(self) -> int:
        """The same in seconds."""
        return int(self.length.total_seconds())


def day_of_bar(closed_at: datetime) -> date:
    """The day in India of a daily bar, which is over at its session's close or, live, at the midnight after it."""
    return (closed_at - timedelta(microseconds=1)).astimezone(IST).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One closed bar; `at` is when it opened, in UTC, prices are in rupees, and `volume` is in units."""

    at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int
