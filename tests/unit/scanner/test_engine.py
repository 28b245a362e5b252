"""The engine: step by step equals at once, to the last bit, from anywhere, for anyone, with gaps; and never looks ahead."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.scanner.terms import Bar, Bars, Engine, Factors, Term, TermError, parse
from bridge.scanner.terms import library as t
from tests.support.bars import CLOSE, alone, present, readings, run, same_bits, walk, weekdays

FACTORS = Factors()
MIDDLE = FACTORS.add("middle", lookback=6, compute=lambda high, low: (high.max(axis=0) + low.min(axis=0)) / 2)
# One of everything that keeps something from bar to bar.
TERMS = [
    *(parse(text) for text in (
        "adx(5)", "plus_di(5)", "atr(4)", "rsi(close, 6)", "ema(close, 9)", "ema(close, 4)", "rma(volume, 3)", "roc(close, 7)",
        "sma(close, 12)", "stdev(close, 8)", "linreg(close, 10)", "slope_r2(close, 11)", "donchian_high(9)", "lowest(low, 6)",
        "macd_histogram(close, 3, 7, 4)", "cross_over(ema(close, 3), ema(close, 6))", "bars_seen()", "turnover(5)", "close[3]",
        "ema((close - open) / (high - low), 4)", "sma((close - open) / (close - close[1]), 4)", "true_range()",
    )),
    MIDDLE(t.high, t.low),
]  # fmt: skip
OF_MONTHS = [
    parse(text) for text in ("month_end(close, 1)", "month_end(close, 0)", "week_end(close, 3)", "weekly_volatility(close, 4)")
]
ACROSS = [
    parse(text) for text in ("z(roc(close, 3))", "rank(close)", "top(close, 2, rsi(close, 5) > 40)", "ema(pct(volume), 3)")
]
HISTORIES = st.tuples(st.integers(0, 2**32), st.integers(2, 70), st.integers(1, 5), st.sampled_from([0.0, 0.05, 0.4]))
FEW = settings(max_examples=20, deadline=None)


def history(drawn: tuple[int, int, int, float]) -> Bars:
    seed, rows, symbols, gaps = drawn
    return walk(seed, rows, symbols, gaps=gaps, days=weekdays(rows))


def engine_for(bars: Bars) -> Engine:
    return Engine([*TERMS, *OF_MONTHS, *ACROSS], bars.fields.shape[2], factors=FACTORS, stale_after=2)


@FEW
@given(HISTORIES, st.data())
def test_step_by_step_equals_at_once(drawn, data):
    """Warmed up to any row and stepped on, with peeks in between: the same bits."""
    bars = history(drawn)
    at_once = readings(engine_for(bars), bars)
    start = data.draw(st.integers(0, len(bars)), label="start")
    engine = engine_for(bars)
    engine.warm(bars.part(0, start))
    peeks = data.draw(st.sets(st.integers(0, len(bars)), max_size=4), label="peeks")
    for row in range(start, len(bars)):
        before = engine.read().values
        if row in peeks:
            forming = walk(drawn[0] + row, 1, drawn[2], gaps=drawn[3])[0]
            engine.peek(Bar(forming.fields, bars.days[row] + timedelta(days=data.draw(st.integers(0, 40)))))
            assert same_bits(engine.read().values, before)
            assert same_bits(engine.peek(bars[row]).values, at_once[row])
        engine.step(bars[row])
        assert same_bits(engine.read().values, at_once[row])


@FEW
@given(HISTORIES, st.data())
def test_a_symbol_does_not_depend_on_the_others(drawn, data):
    """Any subset of the symbols, in any order, has the same bits."""
    bars = history(drawn)
    chosen = data.draw(st.lists(st.integers(0, drawn[2] - 1), min_size=1, unique=True))
    part = Bars(np.ascontiguousarray(bars.fields[:, :, chosen]))
    assert same_bits(run(TERMS, part, factors=FACTORS), run(TERMS, bars, factors=FACTORS)[:, :, chosen])


@FEW
@given(HISTORIES)
def test_a_gap_is_as_if_the_bar_had_never_been(drawn):
    """Where a symbol has bars it has the values of those bars alone, whatever the others did meanwhile."""
    bars = history(drawn)
    found, where = run(TERMS, bars, factors=FACTORS), present(bars)
    assert np.isnan(found[np.broadcast_to(~where[:, None, :], found.shape)]).all()
    for symbol in range(drawn[2]):
        assert same_bits(found[where[:, symbol], :, symbol], run(TERMS, alone(bars, symbol), factors=FACTORS)[:, :, 0])


@FEW
@given(HISTORIES)
def test_a_stale_symbol_keeps_its_last_values_until_it_is_stale(drawn):
    """Which are those of its last bar."""
    bars = history(drawn)
    terms = [term for term in TERMS if not term.is_verdict]
    found, fresh, where = run(terms, bars, factors=FACTORS, stale_after=2), run(terms, bars, factors=FACTORS), present(bars)
    for symbol in range(drawn[2]):
        last = -10
        for row in range(len(bars)):
            last = row if where[row, symbol] else last
            wanted = fresh[last, :, symbol] if row - last <= 2 else np.full(len(terms), np.nan)
            assert same_bits(found[row, :, symbol], wanted)


@FEW
@given(HISTORIES, st.data())
def test_the_future_never_changes_the_past(drawn, data):
    """Other bars from a row on: every value before it has the same bits."""
    bars, other = history(drawn), walk(drawn[0] + 1, drawn[1], drawn[2], gaps=0.2, days=weekdays(drawn[1]))
    cut = data.draw(st.integers(0, drawn[1]))
    changed = Bars(np.concatenate([bars.fields[:cut], other.fields[cut:]]), bars.days)
    assert same_bits(readings(engine_for(bars), bars)[:cut], readings(engine_for(bars), changed)[:cut])


def test_windows_do_not_depend_on_where_the_history_began():
    """Once it is full, a window's value is that of its rows, to the last bit; a mean that runs on is not asked for that."""
    bars = walk(8, 90, 3)
    terms = [
        parse(text)
        for text in ("sma(close, 12)", "stdev(close, 8)", "linreg(close, 10)", "slope_r2(close, 11)", "roc(close, 7)")
    ]
    whole = run(terms, bars)
    for start in (1, 17, 40):
        assert same_bits(run(terms, bars.part(start))[30:], whole[start + 30 :])


def test_equal_terms_share_one_state():
    """However they were written, and as parts of others."""
    one, two = (
        Engine([t.ema(t.close, 9)], 2),
        Engine([parse("ema(close, 9)"), t.ema(t.close, 9), t.ema(t.close, 9) > t.close], 2),
    )
    assert len(two.terms) == 2
    assert len(two._plan.recursions) == len(one._plan.recursions) == 1


def test_a_reading_outlives_the_next_step():
    """It is a copy; what a scan decided on cannot change under it."""
    bars, engine = walk(1, 3, 2), Engine([t.close], 2)
    engine.step(bars[0])
    reading = engine.read()
    engine.step(bars[1])
    np.testing.assert_array_equal(reading.value(t.close), bars.fields[0, CLOSE])


def test_a_peek_is_provisional():
    """And says so."""
    bars, engine = walk(1, 3, 2), Engine([t.close > 0], 2)
    engine.step(bars[0])
    assert engine.peek(bars[1]).provisional
    assert not engine.read().provisional
    assert engine.read().passes(t.close > 0).tolist() == [True, True]


@pytest.mark.parametrize(
    ("do", "told"),
    [
        (lambda: Engine([t.close], 2).read().value(t.open), "was not asked for `open`"),
        (lambda: Engine([t.close], 2).step(walk(1, 1, 3)[0]), "shape"),
        (lambda: Engine([t.month_end(t.close, 1)], 2).step(walk(1, 1, 2)[0]), "their day"),
        (lambda: Engine([MIDDLE(t.high, t.low)], 2), "no factor is registered as 'middle'"),
        (lambda: Engine([Term("bogus")], 2), "nothing computes 'bogus'"),
        (lambda: FACTORS.add("middle", lookback=2, compute=lambda x: x[-1]), "new name"),
        (MIDDLE, "at least one term"),
        (lambda: Bars(np.zeros((3, 4, 2))), "shape"),
        (lambda: Bars(np.zeros((3, 5, 2)), weekdays(2)), "3 rows, but 2 days"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(do, told):
    """With a sentence."""
    with pytest.raises((TermError, ValueError), match=told):
        do()


def test_days_do_not_go_backwards():
    """And the refused bar has changed nothing."""
    bars, engine = walk(1, 3, 2, days=weekdays(3)), Engine([t.ema(t.close, 2)], 2)
    engine.warm(bars.part(0, 2))
    before = engine.read()
    with pytest.raises(TermError, match="2023-01-02 after one of 2023-01-03"):
        engine.step(bars[0])
    with pytest.raises(TermError, match="2023-01-02 after one of 2023-01-03"):
        engine.peek(bars[0])
    assert same_bits(engine.read().values, before.values)
    engine.step(bars[2])
    assert same_bits(engine.read().values, run([t.ema(t.close, 2)], bars)[-1])


def test_a_factor_sees_its_window_and_cannot_write_to_it():
    """(lookback, symbols), the oldest row first; its value is unknown until the window is full."""
    factors, seen = Factors(), []

    def last(window):
        seen.append(window.copy())
        with pytest.raises(ValueError, match="read-only"):
            window[0] = 0
        return np.nansum(window, axis=0)

    factors.add("last", lookback=3, compute=last)
    bars = walk(9, 8, 2)
    found = run([parse("last(close)", factors)], bars, factors=factors)[:, 0]
    assert np.isnan(found[:2]).all()
    for row in range(2, 8):
        np.testing.assert_array_equal(seen[row], bars.fields[row - 2 : row + 1, CLOSE])
        np.testing.assert_array_equal(found[row], np.nansum(bars.fields[row - 2 : row + 1, CLOSE], axis=0))


@pytest.mark.parametrize("fault", [lambda window: window[7], lambda window: window[:, :1], lambda window: "no number"])
def test_a_factor_that_fails_is_unknown_and_stops_nobody(fault):
    """Its fault is told until a step goes well again; the other terms go on."""
    factors = Factors()
    factors.add("moody", lookback=1, compute=lambda window: window[-1] if window[-1, 0] > 50 else fault(window))
    bars = walk(9, 6, 3)
    bars.fields[3, CLOSE, 0] = 1.0
    engine = Engine([parse("moody(close)", factors), parse("ema(close, 2)")], 3, factors=factors)
    found = readings(engine, bars.part(0, 4))
    assert np.isnan(found[3, 0]).all()
    assert not np.isnan(found[:3, 0]).any()
    assert list(engine.faults) == ["moody"]
    assert "Error" in engine.faults["moody"]
    found = readings(engine, bars.part(4))
    assert not np.isnan(found).any()
    assert not engine.faults
    assert same_bits(found[:, 1], run([parse("ema(close, 2)")], bars)[4:, 0])
