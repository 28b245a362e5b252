"""Every term against TA-Lib where its definition is the same, and word for word against TradingView's where not."""

import numpy as np
import pytest
import talib

from bridge.scanner.terms import Bars, Engine, parse
from bridge.scanner.terms import library as t
from tests.support import pine
from tests.support.bars import CLOSE, alone, flat, run, walk

ROWS, SYMBOLS = 400, 3
BARS = walk(11, ROWS, SYMBOLS)
HIGH, LOW, VOLUME = 1, 2, 4


def column(field: int, symbol: int, bars: Bars = BARS) -> np.ndarray:
    return np.ascontiguousarray(bars.fields[:, field, symbol])


def candles(bars: Bars, symbol: int) -> pine.Candles:
    own = alone(bars, symbol)
    return pine.Candles(*(own.fields[:, field, 0].tolist() for field in (HIGH, LOW, CLOSE)))


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("sma(close, 30)", lambda s: talib.SMA(column(CLOSE, s), 30)),
        ("ema(close, 21)", lambda s: talib.EMA(column(CLOSE, s), 21)),
        ("rsi(close, 14)", lambda s: talib.RSI(column(CLOSE, s), 14)),
        ("roc(close, 63)", lambda s: talib.ROC(column(CLOSE, s), 63)),
        ("highest(high, 20)", lambda s: talib.MAX(column(HIGH, s), 20)),
        ("lowest(low, 20)", lambda s: talib.MIN(column(LOW, s), 20)),
        ("linreg(close, 20)", lambda s: talib.LINEARREG(column(CLOSE, s), 20)),
        ("stdev(close, 20)", lambda s: talib.STDDEV(column(CLOSE, s), 20)),
        ("turnover(20)", lambda s: talib.SMA(column(CLOSE, s) * column(VOLUME, s), 20)),
        ("log(close)", lambda s: talib.LN(column(CLOSE, s))),
    ],
)
def test_terms_that_talib_defines_alike_are_equal(text, reference):
    """To 1e-12 of the value, with the same first bar."""
    ours, theirs = run([parse(text)], BARS)[:, 0], np.stack([reference(symbol) for symbol in range(SYMBOLS)], axis=1)
    assert np.array_equal(np.isnan(ours), np.isnan(theirs))
    # TA-Lib's own deviation loses digits, since it subtracts squares; its sums run on from bar to bar.
    np.testing.assert_allclose(ours, theirs, rtol=1e-10 if "stdev" in text else 1e-12, atol=1e-12)


def literal(bars: pine.Candles) -> dict[str, list[float]]:
    plus, minus, adx = pine.dmi(bars, 14, 14)
    line, signal, histogram = pine.macd(bars.close, 12, 26, 9)
    return {
        "true_range()": pine.true_ranges(bars, first=True),
        "atr(14)": pine.atr(bars, 14),
        "natr(14)": [a / c for a, c in zip(pine.atr(bars, 14), bars.close, strict=True)],
        "plus_di(14)": plus,
        "minus_di(14)": minus,
        "adx(14)": adx,
        "adx(17, 5)": pine.dmi(bars, 17, 5)[2],
        "ema(close, 9)": pine.ema(bars.close, 9),
        "rma(close, 15)": pine.rma(bars.close, 15),
        "sma(close, 7)": pine.sma(bars.close, 7),
        "rsi(close, 14)": pine.rsi(bars.close, 14),
        "macd()": line,
        "macd_signal()": signal,
        "macd_histogram()": histogram,
        "ema(rsi(close, 5), 4)": pine.ema(pine.rsi(bars.close, 5), 4),
    }


TEXTS = list(literal(candles(BARS, 0)))


def nearly_equal_moves() -> Bars:
    """Highs and lows that move by the same amount, but for the last bits of floating point."""
    close = np.full((90, 2), 1.1)
    shift = np.cumsum(np.random.default_rng(2).choice([0.0001, 0.0002, 0.0003], (90, 2)), axis=0)
    sign = np.where(np.arange(90) % 2 == 0, 1, -1)[:, None]
    return Bars.of(open=close, high=close + shift, low=close - shift * 1.0, close=close + sign * shift / 3, volume=close)


@pytest.mark.parametrize(
    ("name", "bars"),
    [
        ("walks", BARS),
        ("one symbol", walk(12, 120, 1)),
        ("gaps", walk(13, 300, 5, gaps=0.3)),
        ("flat", flat(80, 2)),
        ("nearly equal moves", nearly_equal_moves()),
        ("coarse ticks", walk(14, 200, 3, tick=1.0)),
    ],
)
def test_terms_are_what_tradingview_defines(name, bars):
    """Every value of every symbol's own bars to the last bit, with the same first bar; gaps are as if never listed."""
    found = run([parse(text) for text in TEXTS], bars)
    for symbol in range(bars.fields.shape[2]):
        rows = np.flatnonzero(np.isfinite(bars.fields[:, CLOSE, symbol]))
        for at, wanted in enumerate(literal(candles(bars, symbol)).values()):
            np.testing.assert_array_equal(found[rows, at, symbol], wanted, err_msg=f"{TEXTS[at]} of symbol {symbol}, {name}")


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("sma(close, 20)", 19), ("ema(close, 20)", 19), ("rma(close, 20)", 19), ("true_range()", 0), ("atr(14)", 13),
        ("rsi(close, 14)", 14), ("plus_di(14)", 14), ("minus_di(14)", 14), ("adx(14)", 27), ("roc(close, 21)", 21),
        ("donchian_high(20)", 20), ("turnover(20)", 19), ("slope_r2(close, 90)", 89), ("macd_signal()", 33),
        ("volatility(close, 252)", 252), ("close[5]", 5), ("highest(close, 10)", 9),
    ],
)  # fmt: skip
def test_first_bar(text, first):
    """A term is known from the bar on that its definition says, and not before."""
    known = ~np.isnan(run([parse(text)], walk(5, 300, 2))[:, 0])
    assert not known[:first].any()
    assert known[first:].all()


def test_donchian_leaves_out_the_bar_itself():
    """A breakout is a close beyond what came before."""
    found = run([t.donchian_high(20), t.donchian_low(20)], BARS)
    for row in (20, 77, 399):
        np.testing.assert_array_equal(found[row, 0], BARS.fields[row - 20 : row, HIGH].max(axis=0))
        np.testing.assert_array_equal(found[row, 1], BARS.fields[row - 20 : row, LOW].min(axis=0))


def test_slope_r2_is_the_fit_of_least_squares():
    """Clenow's number, by numpy's own polynomial fit."""
    found = run([t.slope_r2(t.close, 90)], BARS)[-1, 0]
    for symbol in range(SYMBOLS):
        y = np.log(column(CLOSE, symbol)[-90:])
        slope, intercept = np.polyfit(np.arange(90), y, 1)
        residual = y - (slope * np.arange(90) + intercept)
        r2 = 1 - residual.var() / y.var()
        assert found[symbol] == pytest.approx(np.expm1(slope * 250) * r2, rel=1e-9)


def test_a_flat_line_has_no_slope():
    """Not 0/0."""
    assert run([t.clenow(30)], flat(40, 2))[-1].tolist() == [[0.0, 0.0]]


def test_a_symbol_that_never_trades_is_unknown_throughout():
    """And hides nothing of the others."""
    bars = walk(3, 60, 3)
    bars.fields[:, :, 1] = np.nan
    found = run([parse(text) for text in ("rsi(close, 14)", "close > 1", "z(close)", "bars_seen()")], bars)
    assert np.isnan(found[:, :, 1]).all()
    assert not np.isnan(found[-1][:, [0, 2]]).any()


def test_crossings_are_told_once():
    """At the bar of the crossing, by the relation of the last bar on which both were known."""
    found = run([parse("cross_over(ema(close, 5), ema(close, 12))"), parse("cross_under(ema(close, 5), ema(close, 12))")], BARS)
    for symbol in range(SYMBOLS):
        closes = column(CLOSE, symbol).tolist()
        fast, slow = pine.ema(closes, 5), pine.ema(closes, 12)
        assert (found[:, 0, symbol] == 1).tolist() == pine.crossings(fast, slow)
        assert (found[:, 1, symbol] == 1).tolist() == pine.crossings(slow, fast)
    assert (found[:, 0] == 1).sum() > 10


def test_a_crossing_is_not_told_again_while_the_symbol_has_no_bar():
    """Its last values may still stand; the event is over."""
    bars = walk(4, 4, 2)
    bars.fields[:, CLOSE, 0] = [9, 11, np.nan, 12]
    found = run([t.cross_over(t.close, 10), t.close > 10], bars, stale_after=5)[:, :, 0]
    assert found.tolist() == [[0, 0], [1, 1], [0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("close[1] > 0", [np.nan, 1]),
        ("~(close[1] > 0)", [np.nan, 0]),
        ("close[1] > 0 & close > 1000", [np.nan, 0]),
        ("close[1] > 0 | close > 0", [np.nan, 1]),
        ("close == close", [1, 1]),
        ("ema(close, 1) == close & rma(close, 1) == close", [1, 1]),
        ("choose(close[1] > 0, 1, 2)", [np.nan, 1]),
        ("winsor(close, 3) + winsor(-close, 3)", [0, 0]),
        ("larger(close, 5000) - smaller(close, 5000) * 0", [5000, 5000]),
        ("log(0 - close)", [np.nan, np.nan]),
        ("absolute(-close) / close", [1, 1]),
    ],
)
def test_unknown_stays_unknown(text, wanted):
    """A filter is passed by a yes, never by missing data; not even by its denial."""
    np.testing.assert_array_equal(run([parse(text)], walk(6, 2, 1))[:, 0, 0], wanted)


def test_an_unknown_value_leaves_a_mean_where_it_was():
    """0/0 on a bar: unknown at that bar, and passed over by the mean after it."""
    closes = [1.0, 2.0, 4.0, 4.0, 8.0, 2.0, 3.0]
    prices = np.array(closes)[:, None]
    bars = Bars.of(open=prices, high=prices, low=prices, close=prices, volume=prices)
    ratio = (t.close - 4) / (t.close - 4)  # unknown where the close is 4
    found = run([t.ema(ratio * t.close, 2), t.sma(ratio * t.close, 2), t.ema(t.lag(t.close, 1), 2)], bars)[:, :, 0]
    known = [np.nan if each == 4 else each for each in closes]
    np.testing.assert_array_equal(found[:, 0], pine.ema(known, 2))
    np.testing.assert_array_equal(found[:, 1], [np.nan, 1.5, np.nan, np.nan, 5, 5, 2.5])
    np.testing.assert_array_equal(found[:, 2], pine.ema([np.nan, *closes[:-1]], 2))


def test_a_stale_symbol_is_unknown_and_a_late_one_is_not():
    """After more than `stale_after` steps without a bar; `ages` tells."""
    bars = walk(7, 5, 2)
    bars.fields[2:, :, 0] = np.nan
    engine = Engine([t.close, t.rank(t.close)], 2, stale_after=1)
    engine.warm(bars.part(0, 3))
    assert engine.read().ages.tolist() == [1, 0]
    assert engine.read().value(t.close)[0] == bars.fields[1, CLOSE, 0]
    engine.warm(bars.part(3))
    assert engine.read().ages.tolist() == [3, 0]
    np.testing.assert_array_equal(engine.read().values[:, 0], [np.nan, np.nan])
    assert engine.read().value(t.rank(t.close))[1] == 1
