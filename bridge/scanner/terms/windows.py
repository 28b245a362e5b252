"""Terms of the last rows of a series: each reads a window that lies in one piece, the oldest row first.

A value depends on the rows of its window alone, to the last bit: not on where the history began, nor on other symbols.
"""

from collections.abc import Callable

import numpy as np

from bridge.scanner.terms.bars import FloatArray
from bridge.scanner.terms.term import Term

Reduce = Callable[[FloatArray, FloatArray], object]  # from a window, and into a row


def sum_rows(window: FloatArray, out: FloatArray) -> FloatArray:
    """Sum of the rows, one after the other from the oldest, for every symbol alike."""
    return np.add.reduce(window, 0, out=out)


def _sma(term: Term) -> Reduce:
    n = np.array(float(term.params[0]))

    def reduce(window: FloatArray, out: FloatArray) -> None:
        sum_rows(window, out)
        np.divide(out, n, out)

    return reduce


def _maximum(_term: Term) -> Reduce:
    return lambda window, out: np.maximum.reduce(window, 0, out=out)


def _minimum(_term: Term) -> Reduce:
    return lambda window, out: np.minimum.reduce(window, 0, out=out)


def _stdev(term: Term) -> Reduce:
    n = float(term.params[0])

    def reduce(window: FloatArray, out: FloatArray) -> None:
        sum_rows(window, out)
        apart = window - out / n
        np.square(apart, apart)
        sum_rows(apart, out)
        np.sqrt(np.divide(out, n, out), out)

    return reduce


def _linreg(term: Term) -> Reduce:
    """TradingView's order of operations: x runs from 1, the intercept stands one step before the first point."""
    n = int(term.params[0])
    steps = np.arange(1.0, n + 1.0).reshape(n, 1)
    sum_x, sum_x2 = float(n * (n + 1) // 2), float(n * (n + 1) * (2 * n + 1) // 6)
    spread = n * sum_x2 - sum_x * sum_x

    def reduce(window: FloatArray, out: FloatArray) -> None:
        sum_y, sum_xy = sum_rows(window, np.empty_like(out)), sum_rows(window * steps, np.empty_like(out))
        slope = (n * sum_xy - sum_x * sum_y) / spread
        np.add(sum_y / n - slope * sum_x / n + slope, slope * (n - 1), out)

    return reduce


def _slope_r2(term: Term) -> Reduce:
    n, days = (int(each) for each in term.params)
    apart = (np.arange(n, dtype=np.float64) - (n - 1) / 2).reshape(n, 1)
    spread = float(np.square(apart).sum())

    def reduce(window: FloatArray, out: FloatArray) -> None:
        scratch = np.empty_like(out)
        centred = window - sum_rows(window, scratch) / n
        shared = sum_rows(centred * apart, np.empty_like(out))
        total = sum_rows(np.square(centred), scratch)
        explained = np.divide(shared * shared, spread * total)
        np.copyto(explained, 0.0, where=total == 0)  # a flat line: no slope, nothing to explain
        np.multiply(np.expm1(shared / spread * days), explained, out)

    return reduce


WINDOWS: dict[str, Callable[[Term], Reduce]] = {
    "sma": _sma,
    "maximum": _maximum,
    "minimum": _minimum,
    "stdev": _stdev,
    "linreg": _linreg,
    "fit": _slope_r2,
}


def reach(term: Term) -> tuple[int, int]:
    """Rows of its window, and how many newer ones it leaves out."""
    skip = int(term.params[1]) if term.name in ("maximum", "minimum") else 0
    return int(term.params[0]), skip
