"""Histories for tests: seeded walks with habits of real bars, gaps, and readings gathered row by row."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

import numpy as np

from bridge.scanner.terms import Bars, Engine, FloatArray, Term

CLOSE = 3


def walk(seed: int, rows: int, symbols: int, *, gaps: float = 0.0, tick: float = 0.05, days: Sequence[date] = ()) -> Bars:
    """Random walks on a tick grid, some of them flat for a while; a part `gaps` of the bars is missing."""
    chance = np.random.default_rng(seed)
    moves = chance.normal(0, 1.2, (rows, symbols)) * (chance.random((rows, symbols)) > 0.2)
    close = np.maximum(np.round((100 + np.cumsum(moves, axis=0)) / tick) * tick, tick)
    opened = np.vstack([close[:1], close[:-1]])
    reach = np.round(np.abs(chance.normal(0, 0.6, (2, rows, symbols))) / tick) * tick
    high, low = np.maximum(opened, close) + reach[0], np.maximum(np.minimum(opened, close) - reach[1], tick / 2)
    volume = np.round(chance.lognormal(10, 1, (rows, symbols)))
    bars = Bars.of(open=opened, high=high, low=low, close=close, volume=volume, days=days)
    missing = chance.random((rows, symbols)) < gaps
    bars.fields[np.broadcast_to(missing[:, None, :], bars.fields.shape)] = np.nan
    return bars


def flat(rows: int, symbols: int, price: float = 100.0) -> Bars:
    """Bars without any range."""
    prices = np.full((rows, symbols), price)
    return Bars.of(open=prices, high=prices, low=prices, close=prices, volume=np.zeros((rows, symbols)))


def weekdays(rows: int, first: date = date(2023, 1, 2)) -> list[date]:
    """As many days from Monday to Friday."""
    days = (first + timedelta(days=number) for number in range(2 * rows + 7))
    return [day for day in days if day.weekday() < 5][:rows]


def readings(engine: Engine, bars: Iterable) -> FloatArray:
    """(rows, terms, symbols): what the engine says after each bar."""
    found = []
    for bar in bars:
        engine.step(bar)
        found.append(engine.read().values)
    return np.array(found).reshape(-1, len(engine.terms), engine.symbols)


def run(terms: Sequence[Term], bars: Bars, **settings) -> FloatArray:
    """The readings of a new engine."""
    return readings(Engine(terms, bars.fields.shape[2], **settings), bars)


def present(bars: Bars) -> np.ndarray:
    """(rows, symbols): who has a bar when."""
    return np.asarray(np.isfinite(bars.fields).all(axis=1))


def alone(bars: Bars, symbol: int) -> Bars:
    """One symbol's own bars, without the rows in which it has none."""
    rows = np.flatnonzero(present(bars)[:, symbol])
    days = [bars.days[int(row)] for row in rows] if bars.days else []
    return Bars(np.ascontiguousarray(bars.fields[rows][:, :, [symbol]]), days)


def same_bits(a: FloatArray, b: FloatArray) -> bool:
    """Equal to the last bit; NaN equals NaN."""
    return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=True))
