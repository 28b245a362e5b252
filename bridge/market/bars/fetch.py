"""Backfill: the bars that are missing, asked of a broker within its limits; broken off, it goes on where it ended."""

import asyncio
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from bridge.brokers.base import History, HistoryError, HistoryTrouble
from bridge.core.bar import Bar, Interval
from bridge.core.clock import IST, Clock
from bridge.core.errors import BridgeError
from bridge.core.instrument import Instrument
from bridge.market.bars.series import series_of
from bridge.market.bars.store import BarStore, Part
from bridge.market.bars.times import days_between
from bridge.market.calendar import Calendar

TRIES = 5
FIRST_WAIT_S = 1.0
# Brokers settle the last minute's bar a little after the close.
SETTLE = timedelta(minutes=15)
# And a bar's last trades come to be in it a moment after its end.
BAR_SETTLE = timedelta(seconds=30)
Tell = Callable[[int, int, str], None]


class FetchError(BridgeError):
    """A backfill that cannot go on; what came before is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to the broker."""

    instrument: Instrument
    begin: date
    end: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What came of a backfill; `failed` says by symbol why there are no bars of it."""

    requests: int
    bars: int
    failed: dict[str, str] = field(default_factory=dict)


class Backfill:
    """One backfill at one broker, request after request."""

    def __init__(self, *, store: BarStore, history: History, calendar: Calendar, clock: Clock, tell: Tell) -> None:
        self._store = store
        self._history = history
        self._calendar = calendar
        self._clock = clock
        self._tell = tell
        self._next_s = clock.monotonic()

    def plan(self, instruments: Sequence[Instrument], interval: Interval, begin: date, end: date) -> list[Request]:
        """What has to be asked: the days that may have bars and are not known, in as few requests as the broker allows."""
        today = self._clock.now().astimezone(IST).date()
        end = min(end, today)
        requests = []
        for instrument in instruments:
            days = [day for day in days_between(begin, end) if self._may_trade(day, instrument.exchange)]
            known = self._store.covered(interval, instrument.symbol, begin, end)
            spans = find_spans(days, known, self._history.most_days[interval])
            requests += [Request(instrument=instrument, begin=first, end=last) for first, last in spans]
        return requests

    async def run(self, interval: Interval, requests: Sequence[Request]) -> Fetched:
        """Ask and store; FetchError when the broker gives nothing more at all."""
        bars, failed = 0, dict[str, str]()
        for number, request in enumerate(requests):
            symbol = request.instrument.symbol
            self._tell(number, len(requests), symbol)
            if symbol in failed:
                continue
            try:
                found = await self._ask(request, interval)
            except HistoryError as error:
                if error.trouble is HistoryTrouble.SYMBOL:
                    failed[symbol] = str(error)
                    continue
                raise FetchError(f"{error}; what was fetched is stored, and the same command goes on from there") from None
            bars += self._keep(request, interval, found)
        self._tell(len(requests), len(requests), "")
        return Fetched(requests=len(requests), bars=bars, failed=failed)

    async def _ask(self, request: Request, interval: Interval) -> list[Bar]:
        wait_s = FIRST_WAIT_S
        for _ in range(TRIES - 1):
            await self._take_turn()
            try:
                return await self._history.read(request.instrument, interval, request.begin, request.end)
            except HistoryError as error:
                if error.trouble is not HistoryTrouble.PASSING:
                    raise
            await asyncio.sleep(wait_s)
            wait_s *= 2
        await self._take_turn()
        return await self._history.read(request.instrument, interval, request.begin, request.end)

    async def _take_turn(self) -> None:
        """Wait for the broker's gap between two requests."""
        left_s = self._next_s - self._clock.monotonic()
        if left_s > 0:
            await asyncio.sleep(left_s)
        self._next_s = self._clock.monotonic() + self._history.gap_s

    def _keep(self, request: Request, interval: Interval, found: Sequence[Bar]) -> int:
        """Store the bars that are over; the days of the request that are over too are known now."""
        now, exchange = self._clock.now(), request.instrument.exchange
        closed = [bar for bar in found if self._is_over(bar, interval, exchange, now)]
        days = {day for day in days_between(request.begin, request.end) if self._has_ended(day, exchange, now)}
        part = Part(symbol=request.instrument.symbol, series=series_of(closed), days=days)
        return self._store.merge(interval, [part])

    def _is_over(self, bar: Bar, interval: Interval, exchange: str, now: datetime) -> bool:
        if interval is Interval.DAY:
            return self._has_ended(bar.at.astimezone(IST).date(), exchange, now)
        return bar.at + interval.length + BAR_SETTLE <= now

    def _has_ended(self, day: date, exchange: str, now: datetime) -> bool:
        hours = self._calendar.hours(day, exchange)
        midnight = datetime(day.year, day.month, day.day, tzinfo=IST) + timedelta(days=1)
        return now >= (hours[1] + SETTLE if hours is not None else midnight)

    def _may_trade(self, day: date, exchange: str) -> bool:
        """Trading days of the calendar; of years that it does not know, Mondays to Fridays."""
        if self._calendar.knows(day):
            return self._calendar.is_trading_day(day, exchange)
        return day.weekday() < 5


def find_spans(days: Sequence[date], known: Set[date], most: int) -> Iterator[tuple[date, date]]:
    """Stretches of at most `most` days that hold every day which is not known, each from such a day to such a day."""
    missing = [day for day in days if day not in known]
    while missing:
        begin = missing[0]
        inside = [day for day in missing if (day - begin).days < most]
        yield begin, inside[-1]
        missing = missing[len(inside) :]
