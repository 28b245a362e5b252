"""History: rows of bars in order of time, as a replay walks over them: of the store, in its interval or made of minutes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from bridge.core.bar import Interval
from bridge.market.bars.series import Bars, align
from bridge.market.bars.store import BarStore
from bridge.market.bars.synthetic import MINUTES, combine
from bridge.market.bars.times import DAY_S, IST_S, OPENING_S, day_numbers, day_of_number, number_of_day
from bridge.scanner.programs import warm_begin, warm_place
from bridge.scanner.terms import FloatArray

_ASKED = 12  # whose days are those of the market
_CLOSING_S = OPENING_S + MINUTES * 60


@dataclass(frozen=True, slots=True)
class Row:
    """One bar of all symbols of a track: when it opened and closed, its (5, symbols) prices, and its place in the day.

    One is aside when only symbols have it which have not belonged to the universe until then: it is no bar of a replay's, and
    is looked at only so that their terms are known when they join.
    """

    opened_at: datetime
    closed_at: datetime
    day: date
    fields: FloatArray
    is_first: bool
    is_last: bool
    is_aside: bool = False


class History:
    """The bars of a store as a replay asks for them."""

    def __init__(self, store: BarStore) -> None:
        self._store = store
        self._held = {(held.interval, held.symbol): held for held in store.holdings()}

    def knows(self, symbol: str) -> bool:
        """Whether there are bars of it at all."""
        return any(symbol == known for _kind, known in self._held)

    def span(self, interval: Interval, symbols: Sequence[str]) -> tuple[date, date] | None:
        """The first and last day of any of these symbols."""
        found = [
            held for (kind, symbol), held in self._held.items() if symbol in symbols and kind in (interval, Interval.MINUTE)
        ]
        firsts, lasts = [one.first for one in found if one.first], [one.last for one in found if one.last]
        return (min(firsts), max(lasts)) if firsts and lasts else None

    def bars(self, interval: Interval, symbols: Sequence[str], begin: date, end: date) -> Iterator[Bars]:
        """The bars from `begin` to `end`, a month or a year at a time; days are never split."""
        if self.kind(interval, symbols) is interval:
            yield from self._store.months(interval, symbols, begin, end)
            return
        for bars in self._store.months(Interval.MINUTE, symbols, begin, end):
            yield align(interval, symbols, [combine(interval, bars.of(symbol)) for symbol in symbols])

    def rows(
        self, interval: Interval, symbols: Sequence[str], begin: date, end: date, joined: Sequence[date] = ()
    ) -> Iterator[Row]:
        """The same row by row; `joined` are the days on which the symbols first belong, if not all do from the beginning."""
        since = np.array([number_of_day(day) for day in joined])
        for bars in self.bars(interval, symbols, begin, end):
            yield from rows_of(bars, since if len(since) else None)

    def warm_day(self, interval: Interval, symbols: Sequence[str], begin: date) -> date:
        """The day with whose bars a replay from `begin` on starts, as a bridge would that is at work on that day."""
        first = warm_begin(interval, begin)
        found = [day_numbers(bars.times) for bars in self.bars(interval, symbols, first, begin - timedelta(days=1))]
        numbers = np.concatenate([np.array([], np.int64), *found])
        place = warm_place(interval, numbers, number_of_day(begin))
        return day_of_number(int(numbers[place])) if len(numbers) else begin

    def kind(self, interval: Interval, symbols: Sequence[str]) -> Interval:
        """The interval of the stored bars that those of these symbols are taken from."""
        if any((interval, symbol) in self._held for symbol in symbols):
            return interval
        return Interval.MINUTE

    def days(
        self, interval: Interval, symbols: Sequence[str], begin: date, end: date, joined: Sequence[date] = ()
    ) -> set[date]:
        """The days on which any of the first few symbols traded, of each from the day on which it joined."""
        found: set[date] = set()
        asked = symbols[:_ASKED]
        every = self._store.read_each(self.kind(interval, symbols), asked, begin, end)
        for series, first in zip(every, joined[:_ASKED] or [date.min] * len(asked), strict=True):
            own = map(day_of_number, np.unique(day_numbers(series.times)).tolist())
            found.update(day for day in own if day >= first)
        return found

    def daily_rows(self, symbols: Sequence[str], begin: date, end: date) -> Iterator[Row]:
        """A row a day: of daily bars, or of whatever there is, made into days."""
        kinds = {kind for kind, symbol in self._held if symbol in set(symbols)}
        if Interval.DAY in kinds or Interval.MINUTE in kinds or not kinds:
            yield from self.rows(Interval.DAY, symbols, begin, end)
            return
        for bars in self._store.months(min(kinds, key=lambda kind: kind.seconds), symbols, begin, end):
            yield from rows_of(align(Interval.DAY, symbols, [combine(Interval.DAY, bars.of(one)) for one in symbols]))


def rows_of(bars: Bars, joined: NDArray[np.int64] | None = None) -> Iterator[Row]:
    """The rows of one piece; its first and last row are the first and last of their days. `joined` as numbers of days."""
    if not len(bars):
        return
    numbers = day_numbers(bars.times)
    own = np.arange(len(numbers))
    if joined is not None:
        own = np.flatnonzero((np.isfinite(bars.close) & (joined <= numbers[:, None])).any(axis=1))
    changes = np.flatnonzero(np.diff(numbers[own]))
    firsts, lasts = {*own[:1].tolist(), *own[changes + 1].tolist()}, {*own[-1:].tolist(), *own[changes].tolist()}
    aside = set(range(len(numbers))).difference(own.tolist()) if len(own) < len(numbers) else frozenset[int]()
    midnights = numbers * DAY_S - IST_S
    is_daily = bars.interval is Interval.DAY
    opened = midnights + OPENING_S if is_daily else bars.times
    closed = np.maximum(np.minimum(opened + bars.interval.seconds, midnights + _CLOSING_S), opened + 1)
    day, begins, ends = day_of_number(int(numbers[0])), opened.tolist(), closed.tolist()
    for place in range(len(numbers)):
        if place in firsts or place in aside:
            day = day_of_number(int(numbers[place]))
        is_first, is_last, is_aside = place in firsts, place in lasts, place in aside
        yield Row(_at(begins[place]), _at(ends[place]), day, bars.fields[place], is_first, is_last, is_aside)


def _at(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
