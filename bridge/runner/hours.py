"""Hours: when the instruments of a program trade, and which stretches of trading lie between two moments."""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta

from bridge.core.bar import Interval
from bridge.core.clock import IST
from bridge.core.instrument import Instrument
from bridge.market.calendar import Calendar

Stretch = tuple[datetime, datetime]
MAX_DAYS = 2_000


def day_of(at: datetime) -> date:
    """The day in India."""
    return at.astimezone(IST).date()


def midnight(day: date) -> datetime:
    """When a day begins in India."""
    return datetime.combine(day, time(), IST)


class Hours:
    """Sessions of continuous trading, from the first opening of any instrument to the last close; auctions make no bars."""

    def __init__(self, calendar: Calendar, instruments: Iterable[Instrument]) -> None:
        self._calendar = calendar
        # What one exchange has of a kind trades alike: shares with futures end their day in an auction.
        self._instruments = list({(one.exchange, one.kind, one.has_derivatives): one for one in instruments}.values())

    def of(self, at: datetime) -> Stretch | None:
        """The session on the day of `at`."""
        found = [hours for one in self._instruments if (hours := self._calendar.continuous(one, at)) is not None]
        return (min(first for first, _ in found), max(last for _, last in found)) if found else None

    def is_open(self, at: datetime) -> bool:
        """True within a session."""
        hours = self.of(at)
        return hours is not None and hours[0] <= at < hours[1]

    def whole_from(self, interval: Interval, heard_since: datetime) -> datetime:
        """When the first bar opens of which nothing was missed."""
        if interval is Interval.DAY:
            return midnight(day_of(heard_since))
        hours = self.of(heard_since)
        if hours is None or not hours[0] < heard_since < hours[1]:
            return heard_since
        return hours[0] - (hours[0] - heard_since) // interval.length * interval.length

    def between(self, begin: datetime, end: datetime) -> Iterator[Stretch]:
        """The parts of sessions from `begin` to `end`, at most MAX_DAYS back."""
        day = max(day_of(begin), day_of(end) - timedelta(days=MAX_DAYS))
        while midnight(day) < end:
            hours = self.of(midnight(day))
            if hours is not None and max(hours[0], begin) < min(hours[1], end):
                yield max(hours[0], begin), min(hours[1], end)
            day += timedelta(days=1)

    def days_between(self, begin: datetime, end: datetime) -> list[date]:
        """Trading days that begin at `begin` or later, and before `end`."""
        return [day_of(first) for first, _last in self.between(begin, end)]
