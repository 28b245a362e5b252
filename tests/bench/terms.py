"""`python -m tests.bench.terms`: the scanner's terms beside a TA-Lib loop and beside a copy of the same bytes."""

import itertools
import json
import time
from collections.abc import Callable, Sequence
from statistics import median

import numpy as np
import talib

from bridge.scanner.terms import Bars, Engine, FloatArray, Term
from bridge.scanner.terms import library as t
from tests.support.bars import walk

ROWS, FEW, SOME, MANY = 300, 200, 500, 5_000
ROC = (21, 63, 126, 252)
STEPS, WARM_UPS = 300, 9
BEYOND_CACHE = 24_000_000  # values: 192 MB
# Rows of one float64 per symbol that a step cannot but read or write: the bar, 15 outputs, 9 means read and written, 7 rows
# some bars back, three windows of 20, and 4 series appended to their rings, twice each.
ROWS_MOVED = 5 + 15 + 2 * 9 + 7 + 3 * 20 + 2 * 4


def outputs() -> list[Term]:
    """The fifteen that a momentum scan looks at."""
    return [
        *(t.roc(t.close, n) for n in ROC),
        *(t.adx(14), t.plus_di(14), t.minus_di(14), t.atr(14), t.rsi(t.close, 14)),
        *(t.ema(t.close, 9), t.ema(t.close, 21), t.donchian_high(20), t.donchian_low(20), t.turnover(20), t.close),
    ]


def by_talib(high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray) -> list[float]:
    """The same of one symbol's whole history, as a loop over symbols has to at every bar; the last value of each."""
    series = [
        *(talib.ROC(close, n) for n in ROC),
        *(talib.ADX(high, low, close, 14), talib.PLUS_DI(high, low, close, 14), talib.MINUS_DI(high, low, close, 14)),
        *(talib.ATR(high, low, close, 14), talib.RSI(close, 14), talib.EMA(close, 9), talib.EMA(close, 21)),
        *(talib.MAX(high, 20), talib.MIN(low, 20), talib.SMA(close * volume, 20)),
    ]
    return [float(each[-1]) for each in series] + [float(close[-1])]


def seconds_of(do: Callable[[], object], times: int) -> float:
    """The median of so many runs."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        do()
        taken.append(time.perf_counter() - began)
    return median(taken)


def step_s(symbols: int) -> tuple[float, Engine, Bars]:
    """One incremental step of all outputs, of an engine that is warm."""
    bars = walk(1, ROWS, symbols)
    engine = Engine(outputs(), symbols)
    engine.warm(bars)
    rows = iter(list(bars) * (STEPS // ROWS + 1))
    return seconds_of(lambda: engine.step(next(rows)), STEPS), engine, bars


def warm_up_s(symbols: int) -> float:
    """From nothing to a warm engine."""
    bars = walk(2, ROWS, symbols)
    return seconds_of(lambda: Engine(outputs(), symbols).warm(bars), WARM_UPS)


def touch_s(symbols: int) -> float:
    """Copying as many bytes as a step has to move from memory: half of them read, half written, none in the cache."""
    each = ROWS_MOVED // 2 * symbols
    source, target = np.ones(BEYOND_CACHE), np.zeros(BEYOND_CACHE)
    starts = itertools.cycle(range(0, BEYOND_CACHE - each, each))

    def touch() -> None:
        at = next(starts)
        np.copyto(target[at : at + each], source[at : at + each])

    return seconds_of(touch, STEPS)


def talib_s(bars: Bars, names: Sequence[str] = ("high", "low", "close", "volume")) -> float:
    """The loop over all symbols."""
    columns = [np.ascontiguousarray(bars.fields[:, at].T) for at in range(1, 1 + len(names))]
    return seconds_of(lambda: [by_talib(*each) for each in zip(*columns, strict=True)], 5)


def measure() -> dict[str, float]:
    """Every number, in milliseconds or as a ratio."""
    some, _, bars = step_s(SOME)
    many, _, _ = step_s(MANY)
    return {
        "terms_step_500_ms": round(some * 1000, 4),
        "terms_step_5000_ms": round(many * 1000, 4),
        "terms_warm_up_ms": round(warm_up_s(FEW) * 1000, 2),
        "terms_talib_ratio": round(talib_s(bars) / some, 1),
        "terms_touch_ratio": round(many / touch_s(MANY), 3),
    }


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
