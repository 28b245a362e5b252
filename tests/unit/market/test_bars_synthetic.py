"""Made-up bars: the same everywhere, and with the habits of a market."""

import hashlib
from datetime import date

import numpy as np
import pytest

from bridge.core.bar import Interval
from bridge.market.bars.codec import pack
from bridge.market.bars.series import COLUMNS
from bridge.market.bars.synthetic import MINUTES, Plan, combine, make_parts, round_to_tick, weekdays

DAYS = weekdays(date(2026, 1, 1), date(2026, 3, 31))
SYMBOLS = tuple(f"NSE:S{number:02}" for number in range(24))


@pytest.fixture(scope="module")
def market():
    return {part.symbol: part.series for part in make_parts(Plan(seed=11, symbols=SYMBOLS, days=DAYS))}


def test_the_same_seed_gives_the_same_bytes_on_any_machine(market):
    """A digest that was taken once; another processor or numpy must come to it too."""
    digest = hashlib.sha256()
    for symbol in SYMBOLS:
        for name in ("times", *COLUMNS):
            digest.update(getattr(market[symbol], name).tobytes())
    assert digest.hexdigest() == "705b9e76d389077a9fcf831b84edb9508c3acc05aa9d5da5f367217dfea1a9f2"


def test_another_seed_gives_another_market(market):
    """Or it would be no seed."""
    other = next(make_parts(Plan(seed=12, symbols=SYMBOLS[:1], days=DAYS)))
    assert other.series.close[:50].tolist() != market[SYMBOLS[0]].close[:50].tolist()


def test_a_symbol_is_the_same_whatever_else_is_made(market):
    """A test of one symbol and a demo of two hundred see the same bars."""
    alone = next(make_parts(Plan(seed=11, symbols=SYMBOLS[5:6], days=DAYS)))
    assert pack(alone.series) == pack(market[SYMBOLS[5]])
    assert alone.days == set(DAYS)


def test_prices_are_prices(market):
    """Above zero, on the exchange's ticks, with the high and low around open and close."""
    for series in market.values():
        for prices in (series.open, series.high, series.low, series.close):
            paise = np.rint(prices * 100)
            assert (paise > 0).all()
            assert np.array_equal(round_to_tick(paise), paise)
        assert (series.high >= np.maximum(series.open, series.close)).all()
        assert (series.low <= np.minimum(series.open, series.close)).all()
        assert (series.volume >= 1).all()


def test_ticks_widen_with_the_price():
    """As NSE has them since 15 April 2025."""
    paise = np.array([24_999, 25_001, 100_004, 500_026, 1_000_049, 2_000_251], np.float64)
    assert round_to_tick(paise).tolist() == [24_999, 25_000, 100_000, 500_050, 1_000_000, 2_000_500]


def test_a_session_is_busy_at_its_edges(market):
    """Volume has the shape of a U."""
    full = [series for series in market.values() if len(series) == len(DAYS) * MINUTES]
    shape = np.mean([series.volume.reshape(-1, MINUTES).mean(axis=0) / series.volume.mean() for series in full], axis=0)
    assert shape[:15].mean() > 1.8
    assert shape[-15:].mean() > 1.2
    assert shape[180:240].mean() < 0.6


def test_symbols_move_with_the_market_and_by_themselves(market):
    """Daily returns of two symbols hang together, but not closely; a year's spread is a share's."""
    closes = np.array([combine(Interval.DAY, series).close for series in market.values()])
    returns = np.diff(closes, axis=1) / closes[:, :-1]
    pairs = np.corrcoef(returns)[np.triu_indices(len(returns), 1)]
    assert 0.1 < pairs.mean() < 0.6
    assert 0.15 < returns.std(axis=1).mean() * 252**0.5 < 0.5


def test_thin_symbols_have_minutes_without_a_trade(market):
    """So that nobody forgets them."""
    counts = {len(series) for series in market.values()}
    assert len(counts) > 1
    assert max(counts) == len(DAYS) * MINUTES


@pytest.mark.parametrize(("interval", "bars"), [(Interval.MINUTES_15, 25), (Interval.HOUR, 7), (Interval.DAY, 1)])
def test_minutes_make_longer_bars(market, interval, bars):
    """First open, last close, the extremes between, and all the volume."""
    full = next(one for one in market.values() if len(one) == len(DAYS) * MINUTES)
    series = full.take(slice(0, MINUTES))
    made = combine(interval, series)
    assert len(made) == bars
    assert made.open[0] == series.open[0]
    assert made.close[-1] == series.close[-1]
    assert made.high.max() == series.high.max()
    assert made.low.min() == series.low.min()
    assert made.volume.sum() == series.volume.sum()
    if interval is Interval.MINUTES_15:
        assert made.high[1] == series.high[15:30].max()
        assert made.times[1] == series.times[15]
