"""What a series was at the ends of past months or weeks; the day of each bar says when one is over."""

from datetime import date

import numpy as np

from bridge.scanner.terms.bars import FloatArray
from bridge.scanner.terms.moment import Moment

WEEKS_PER_YEAR = 52


def period_of(unit: str, day: date) -> int:
    """The number of a day's month, or of its week from Monday on."""
    return day.year * 12 + day.month if unit == "month" else (day.toordinal() - 1) // 7


class Periods:
    """`ends[k]` is the last known value in the k-th period before this one, and `ends[0]` the one of this period so far.

    A new period begins for all symbols at once, with the first bar of anyone in it.
    """

    def __init__(self, moment: Moment, unit: str, x: FloatArray, depth: int):
        self._moment, self._unit, self._x = moment, unit, x
        self.ends = moment.block(depth + 1)
        self._number = moment.row()
        self.turned = True

    def run(self) -> None:
        """One bar; the engine has seen to it that it has a day, and not one before the latest."""
        assert self._moment.day is not None
        number, before = period_of(self._unit, self._moment.day), self._number[0]
        self.turned = before != number
        if self.turned and not np.isnan(before):
            gone = min(int(number - before), len(self.ends))
            self.ends[gone:] = self.ends[: len(self.ends) - gone].copy()
            self.ends[:gone] = np.nan
        self._number.fill(number)
        known = ~np.isnan(self._x)
        np.copyto(self.ends[0], self._x, where=known if self._moment.present is None else known & self._moment.present)


class PeriodVolatility:
    """Deviation of the simple returns between the last whole weeks, for a year; worked out once a week.

    A week without a bar keeps the close before it.
    """

    def __init__(self, moment: Moment, periods: Periods, weeks: int):
        self._periods, self._weeks = periods, weeks
        self.out = moment.row()

    def run(self) -> None:
        """One bar, after the periods' own step."""
        if not self._periods.turned:
            return
        closes = self._periods.ends[1 : self._weeks + 2].copy()
        for row in range(len(closes) - 2, -1, -1):
            np.copyto(closes[row], closes[row + 1], where=np.isnan(closes[row]))
        returns = closes[:-1] / closes[1:] - 1
        np.multiply(returns.std(axis=0), WEEKS_PER_YEAR**0.5, self.out)
