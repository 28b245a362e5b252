"""Intraday: when positions that must not stay overnight (MIS) are to be closed, before the broker closes them at a fee."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from bridge.core.clock import IST
from bridge.core.instrument import Instrument
from bridge.market.calendar import Calendar
from bridge.market.schedule import Segment

# Minutes before continuous trading ends: five before Zerodha's own times as its support pages gave them (equity 15:20,
# derivatives 15:25, currency 16:45, commodities 25 minutes before the close; seen in 2026, from before the closing auction
# moved the hours in August). Shares with futures stop trading at 15:15 since then, and so get the same distance from that.
DEFAULT_MINUTES: Mapping[Segment, int] = {
    Segment.EQUITY: 15,
    Segment.EQUITY_FNO: 15,
    Segment.DERIVATIVES: 25,
    Segment.INDEX_EXPIRY: 25,
    Segment.CURRENCY: 20,
    Segment.COMMODITY: 30,
}
# Where the settings name no time of its own, an index contract on its last day goes by that of all derivatives.
_FALLBACK = {Segment.INDEX_EXPIRY: Segment.DERIVATIVES}
When = int | time | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SquareOffTimes:
    """When one account's intraday positions are closed.

    `named` are minutes before the end of continuous trading, or times of day in India, by segment; None: left to the broker.
    """

    calendar: Calendar
    named: Mapping[Segment, When]

    def __call__(self, instrument: Instrument, at: datetime) -> datetime | None:
        """The moment on the day of `at`; None when it is left to the broker or the day has no trading that is known.

        A time of day holds on days when it lies within trading; on others (special sessions) the default distance does.
        """
        segment, hours = self.calendar.segment(instrument, at), self.calendar.continuous(instrument, at)
        if segment is None or hours is None:
            return None
        when = self._when(segment)
        if isinstance(when, time):
            moment = datetime.combine(at.astimezone(IST).date(), when, IST)
            if hours[0] < moment < hours[1]:
                return moment
            when = DEFAULT_MINUTES[segment]
        return None if when is None else hours[1] - timedelta(minutes=when)

    def _when(self, segment: Segment) -> When:
        for name in (segment, _FALLBACK.get(segment, segment)):
            if name in self.named:
                return self.named[name]
        return DEFAULT_MINUTES[segment]


def square_off_times(calendar: Calendar, named: Mapping[str, Mapping[Segment, When] | None]) -> dict[str, SquareOffTimes]:
    """By account, where the bridge closes anything at all."""
    return {name: SquareOffTimes(calendar=calendar, named=when) for name, when in named.items() if when is not None}
