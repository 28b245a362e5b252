"""TradingView's definitions, word for word and slowly: one symbol, one bar at a time, plain floats and NaN."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

NAN = math.nan
Series = Sequence[float]


@dataclass(frozen=True)
class Candles:
    """One symbol's bars."""

    high: list[float]
    low: list[float]
    close: list[float]

    def __len__(self) -> int:
        return len(self.close)


def mean_first(values: Series) -> float:
    total = 0.0
    for value in values:
        total += value
    return total / len(values)


def smoothed(values: Series, n: int, step: Callable[[float, float], float]) -> list[float]:
    """Seeded by the mean of the first n known values; bars that are not known are passed over."""
    found, seed, state = [], [], NAN
    for value in values:
        if math.isnan(value):
            found.append(NAN)
            continue
        if math.isnan(state):
            seed.append(value)
            state = mean_first(seed) if len(seed) == n else NAN
        else:
            state = step(state, value)
        found.append(state)
    return found


def ema(values: Series, n: int) -> list[float]:
    alpha = 2 / (n + 1)
    return smoothed(values, n, lambda state, x: state + alpha * (x - state))


def rma(values: Series, n: int) -> list[float]:
    return smoothed(values, n, lambda state, x: (state * (n - 1) + x) / n)


def sma(values: Series, n: int) -> list[float]:
    return [mean_first(values[at - n + 1 : at + 1]) if at >= n - 1 else NAN for at in range(len(values))]


def changes(values: Series) -> list[float]:
    return [NAN, *(b - a for a, b in pairwise(values))]


def true_ranges(bars: Candles, *, first: bool) -> list[float]:
    found = [bars.high[0] - bars.low[0] if first else NAN]
    for at in range(1, len(bars)):
        high, low, before = bars.high[at], bars.low[at], bars.close[at - 1]
        found.append(max(high - low, abs(high - before), abs(low - before)))
    return found


def atr(bars: Candles, n: int) -> list[float]:
    return rma(true_ranges(bars, first=True), n)


def rsi(values: Series, n: int) -> list[float]:
    moved = changes(values)
    gains = rma([NAN if math.isnan(each) else max(each, 0.0) for each in moved], n)
    losses = rma([NAN if math.isnan(each) else max(-each, 0.0) for each in moved], n)
    return [100.0 if u + d == 0 else 100 * (u / (u + d)) for u, d in zip(gains, losses, strict=True)]


def dmi(bars: Candles, n: int, smoothing: int) -> tuple[list[float], list[float], list[float]]:
    """+DI, -DI and ADX. Moves are compared with a tolerance of 1e-10; without any range there is no DI."""
    up, down = changes(bars.high), [-each for each in changes(bars.low)]
    plus, minus = [NAN], [NAN]
    for ours, theirs in list(zip(up, down, strict=True))[1:]:
        plus.append(ours if ours - theirs > 1e-10 and ours > 1e-10 else 0.0)
        minus.append(theirs if theirs - ours > 1e-10 and theirs > 1e-10 else 0.0)
    span = rma(true_ranges(bars, first=False), n)
    of = [
        [NAN if math.isnan(s) or s == 0 else 100 * p / s for p, s in zip(rma(moves, n), span, strict=True)]
        for moves in (plus, minus)
    ]
    dx = [abs(p - m) / (p + m if p + m != 0 else 1.0) for p, m in zip(*of, strict=True)]
    return of[0], of[1], [100 * each for each in rma(dx, smoothing)]


def macd(values: Series, fast: int, slow: int, n: int) -> tuple[list[float], list[float], list[float]]:
    line = [a - b for a, b in zip(ema(values, fast), ema(values, slow), strict=True)]
    signal = ema(line, n)
    return line, signal, [a - b for a, b in zip(line, signal, strict=True)]


def crossings(a: Series, b: Series) -> list[bool]:
    """Where a crosses over b; the relation is that of the bar on which both were last known."""
    found, was_below = [], False
    for left, right in zip(a, b, strict=True):
        found.append(left > right and was_below)
        if not math.isnan(left) and not math.isnan(right):
            was_below = left <= right
    return found
