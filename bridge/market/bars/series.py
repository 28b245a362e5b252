"""Series and Bars: the bars of one symbol, and those of many on a common time axis, as numpy arrays."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from bridge.core.bar import Bar, Interval
from bridge.core.errors import BridgeError
from bridge.market.bars.times import day_numbers, day_of_number

Times = NDArray[np.int64]
Prices = NDArray[np.float64]
COLUMNS = ("open", "high", "low", "close", "volume")


class BarsError(BridgeError):
    """Bars that cannot be read, stored or trusted; the message names which, and the mend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Bars of one symbol: `times` are seconds since 1970 UTC at which each opened, rising; the other arrays fit them."""

    times: Times
    open: Prices
    high: Prices
    low: Prices
    close: Prices
    volume: Prices

    def __len__(self) -> int:
        return len(self.times)

    def between(self, begin_s: int, end_s: int) -> "Series":
        """The bars that opened at `begin_s` or later, and before `end_s`."""
        first, last = np.searchsorted(self.times, (begin_s, end_s))
        return self.take(slice(int(first), int(last)))

    def take(self, which: slice | NDArray[np.int64] | NDArray[np.bool_]) -> "Series":
        """Some of the bars, by place."""
        return Series(times=self.times[which], **{name: getattr(self, name)[which] for name in COLUMNS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Bars of many symbols: `times` as in a Series; NaN where there is no bar.

    `fields` is (rows, 5, symbols) in the order of COLUMNS; `close` and its like are views of it, (rows, symbols).
    """

    interval: Interval
    symbols: tuple[str, ...]
    times: Times
    fields: Prices

    def __len__(self) -> int:
        return len(self.times)

    @property
    def open(self) -> Prices:
        """The first price of each."""
        return self.fields[:, 0]

    @property
    def high(self) -> Prices:
        """The highest price of each."""
        return self.fields[:, 1]

    @property
    def low(self) -> Prices:
        """The lowest price of each."""
        return self.fields[:, 2]

    @property
    def close(self) -> Prices:
        """The last price of each."""
        return self.fields[:, 3]

    @property
    def volume(self) -> Prices:
        """The units traded."""
        return self.fields[:, 4]

    def days(self) -> list[date]:
        """The day in India of each row."""
        numbers = day_numbers(self.times)
        known = {number: day_of_number(number) for number in np.unique(numbers).tolist()}
        return [known[number] for number in numbers.tolist()]

    def of(self, symbol: str) -> Series:
        """The bars of one symbol alone; BarsError when it is not among them."""
        if symbol not in self.symbols:
            raise BarsError(f"{symbol} is not among the {len(self.symbols)} symbols that were read")
        place = self.symbols.index(symbol)
        columns = {name: getattr(self, name)[:, place] for name in COLUMNS}
        is_there = ~np.isnan(columns["close"])
        return Series(times=self.times[is_there], **{name: column[is_there] for name, column in columns.items()})


def empty_series() -> Series:
    """No bars at all."""
    return Series(times=np.empty(0, np.int64), **{name: np.empty(0) for name in COLUMNS})


def extremes(series: Series, begin_s: int, end_s: int) -> tuple[float | None, float | None]:
    """The highest and the lowest price of the bars that opened at `begin_s` or later, and before `end_s`; None without one."""
    part = series.between(begin_s, end_s)
    return (float(part.high.max()), float(part.low.min())) if len(part) else (None, None)


def series_of(bars: Iterable[Bar]) -> Series:
    """Bars as arrays, in order of time; of two at one time the later given counts."""
    rows = [(int(bar.at.timestamp()), bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars]
    if not rows:
        return empty_series()
    times, *columns = zip(*rows, strict=True)
    arrays = {name: np.array(column, np.float64) for name, column in zip(COLUMNS, columns, strict=True)}
    return merge_series(empty_series(), Series(times=np.array(times, np.int64), **arrays))


def merge_series(old: Series, new: Series) -> Series:
    """Both, in order of time; where both have a bar, the new one."""
    times = np.concatenate([old.times, new.times])
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    order = order[np.append(ordered[1:] != ordered[:-1], True)] if len(ordered) else order
    return Series(
        times=times[order],
        **{name: np.concatenate([getattr(old, name), getattr(new, name)])[order] for name in COLUMNS},
    )


def align(interval: Interval, symbols: Sequence[str], found: Sequence[Series]) -> Bars:
    """The series of `symbols` on the axis of all times at which any of them has a bar."""
    times = _axis(found)
    fields = np.full((len(times), len(COLUMNS), len(symbols)), np.nan)
    for place, series in enumerate(found):
        rows: slice | NDArray[np.int64] = slice(None)
        if len(series) != len(times):  # most symbols have a bar at every time
            rows = np.searchsorted(times, series.times)
        for number, name in enumerate(COLUMNS):
            fields[rows, number, place] = getattr(series, name)
    return Bars(interval=interval, symbols=tuple(symbols), times=times, fields=fields)


def _axis(found: Sequence[Series]) -> Times:
    """All times, each once. Most series have the same, which is seen faster than sorted out."""
    axes: list[Times] = []
    for series in found:
        if not any(np.array_equal(series.times, axis) for axis in axes[-4:]):
            axes.append(series.times)
    return np.unique(np.concatenate(axes)) if axes else np.empty(0, np.int64)
