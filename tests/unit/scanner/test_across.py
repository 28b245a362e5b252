"""Terms across symbols and of calendar periods, and the named scores made of them."""

import calendar
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.scanner.terms import Bar, Bars, Engine, parse
from bridge.scanner.terms import library as t
from tests.support.bars import CLOSE, flat, present, run, walk, weekdays

NAN = np.nan
FEW = settings(max_examples=30, deadline=None)
VALUES = st.lists(st.one_of(st.integers(1, 6).map(float), st.just(NAN)), min_size=1, max_size=12)


def one_bar(closes) -> Bar:
    prices = np.array(closes, dtype=np.float64)
    return Bar.of(open=prices, high=prices, low=prices, close=prices, volume=np.ones(len(prices)))


def once(text: str, closes) -> np.ndarray:
    engine = Engine([parse(text)], len(closes))
    engine.step(one_bar(closes))
    return np.asarray(engine.read().values[0])


@FEW
@given(VALUES)
def test_ranks_are_those_of_a_league_table(closes):
    """1 + how many are better; those without a bar have none and count for nobody."""
    known = [each for each in closes if not np.isnan(each)]
    wanted = [NAN if np.isnan(each) else 1 + sum(other > each for other in known) for each in closes]
    np.testing.assert_array_equal(once("rank(close)", closes), wanted)
    shares = [NAN if np.isnan(each) else 100 * sum(other <= each for other in known) / len(known) for each in closes]
    np.testing.assert_array_equal(once("pct(close)", closes), shares)


@FEW
@given(VALUES, st.integers(1, 14))
def test_the_top_is_never_more_than_asked_for(closes, n):
    """The best by value, equals by their order; everybody where there are fewer."""
    known = [number for number, each in enumerate(closes) if not np.isnan(each)]
    best = sorted(known, key=lambda number: (-closes[number], number))[:n]
    wanted = [NAN if np.isnan(each) else float(number in best) for number, each in enumerate(closes)]
    np.testing.assert_array_equal(once(f"top(close, {n})", closes), wanted)


@FEW
@given(VALUES)
def test_z_has_mean_0_and_deviation_1(closes):
    """Of those who are known; equals all stand at 0."""
    found = once("z(close)", closes)
    known = found[~np.isnan(closes)]
    assert len(known) == len(closes) - np.isnan(closes).sum()
    if len(set(known)) > 1:
        assert known.mean() == pytest.approx(0, abs=1e-12)
        assert known.std() == pytest.approx(1)
    else:
        assert (known == 0).all()


def test_a_mask_leaves_the_others_out():
    """They have no rank and move nobody else's; they are known not to be in the top."""
    closes = [5, 4, 3, 2, NAN]
    np.testing.assert_array_equal(once("rank(close, close < 5)", closes), [NAN, 1, 2, 3, NAN])
    np.testing.assert_array_equal(once("top(close, 2, close < 5)", closes), [0, 1, 1, 0, NAN])
    np.testing.assert_array_equal(once("z(close, close < 4)", closes), [NAN, NAN, 1, -1, NAN])


# --- months and weeks -------------------------------------------------------------------------------------------------

DAYS = weekdays(900)
LONG = walk(21, 900, 6, gaps=0.1, days=DAYS)


def end_of_month(bars: Bars, symbol: int, row: int, back: int) -> float:
    """The slow way: the last bar of the month that many months before the row's."""
    number = bars.days[row].year * 12 + bars.days[row].month - back
    where = present(bars)[:, symbol]
    rows = [at for at in range(row + 1) if where[at] and bars.days[at].year * 12 + bars.days[at].month == number]
    return float(bars.fields[rows[-1], CLOSE, symbol]) if rows else NAN


def test_month_ends_are_the_last_closes_of_their_months():
    """Of the symbol's own bars, at any day of the month."""
    found = run([t.month_end(t.close, back) for back in (0, 1, 6, 13)], LONG, stale_after=60)
    for row in (3, 25, 44, 300, 301, 640, 899):
        for at, back in enumerate((0, 1, 6, 13)):
            wanted = [end_of_month(LONG, symbol, row, back) for symbol in range(6)]
            if row > 10:
                np.testing.assert_array_equal(found[row, at], wanted, err_msg=f"row {row}, {back} months back")


def test_a_month_without_a_bar_is_unknown():
    """Suspended in February: no close of February, and that of January stays where it was."""
    bars = walk(1, 65, 2, days=weekdays(65))  # January to March
    february = [row for row, day in enumerate(bars.days) if day.month == 2]
    bars.fields[february, :, 0] = NAN
    found = run([t.month_end(t.close, back) for back in (1, 2)], bars)[-1]
    assert np.isnan(found[0]).tolist() == [True, False]
    assert found[1, 0] == bars.fields[february[0] - 1, CLOSE, 0]


def test_a_month_that_nobody_traded_is_passed_over():
    """Its end is unknown, and those before it move on all the same."""
    bars = walk(1, 70, 2, days=weekdays(70))
    kept = [row for row, day in enumerate(bars.days) if day.month != 2]
    part = Bars(bars.fields[kept], [bars.days[row] for row in kept])
    found = run([t.month_end(t.close, back) for back in (1, 2, 3)], part)
    march = next(row for row, day in enumerate(part.days) if day.month == 3)
    assert np.isnan(found[march, 0]).all()
    np.testing.assert_array_equal(found[march, 1], part.fields[march - 1, CLOSE])
    april = next(row for row, day in enumerate(part.days) if day.month == 4)
    np.testing.assert_array_equal(found[april, 2], part.fields[march - 1, CLOSE])


def test_weeks_begin_on_monday():
    """week_end(x, 1) on any day is the close of the Friday before."""
    bars = walk(2, 40, 2, days=weekdays(40))
    found = run([t.week_end(t.close, 1)], bars)[:, 0]
    for row in range(5, 40):
        np.testing.assert_array_equal(found[row], bars.fields[row - bars.days[row].weekday() - 1, CLOSE])


def test_weekly_volatility_is_that_of_whole_weeks():
    """Nothing of the running week is in it."""
    bars = walk(3, 150, 2, days=weekdays(150))
    fridays = [row for row, day in enumerate(bars.days) if day.weekday() == 4]
    for row in (120, 122, 123, 149):
        ends = bars.fields[[each for each in fridays if each < row - bars.days[row].weekday()][-9:], CLOSE]
        wanted = (ends[1:] / ends[:-1] - 1).std(axis=0) * 52**0.5
        np.testing.assert_allclose(run([t.weekly_volatility(t.close, 8)], bars.part(0, row + 1))[-1, 0], wanted, rtol=1e-12)


def nse_by_hand(bars: Bars, months: list[int]) -> np.ndarray:
    """The published steps with month ends picked by the calendar: returns over sigma, z of each, their mean, the score."""
    last = {day.year * 12 + day.month: row for row, day in enumerate(bars.days)}
    p1, p7, p13 = (bars.fields[last[months[0] - back], CLOSE] for back in (0, 6, 12))
    closes = bars.fields[last[months[0]] - 252 : last[months[0]] + 1, CLOSE]
    sigma = np.diff(np.log(closes), axis=0).std(axis=0) * np.sqrt(252)
    ratios = [(p1 / p7 - 1) / sigma, (p1 / p13 - 1) / sigma]
    w = sum(0.5 * (ratio - ratio.mean()) / ratio.std() for ratio in ratios)
    return np.asarray(np.where(w >= 0, 1 + w, 1 / (1 - w)))


@pytest.mark.parametrize(("end", "now"), [(date(2024, 6, 28), 0), (date(2024, 7, 1), 1), (date(2024, 7, 19), 1)])
def test_the_nse_score_is_the_published_one(end, now):
    """On the last day of a month, and on any day of the next: prices and sigma are as of the month's end."""
    bars = walk(22, 500, 8, days=weekdays(500))
    part = bars.part(0, [day <= end for day in bars.days].count(True))
    assert part.days[-1] == end
    found = run([t.nse_momentum(now)], part)[-1, 0]
    np.testing.assert_allclose(found, nse_by_hand(part, [2024 * 12 + 6]), rtol=1e-9)


def test_msci_and_12_1_are_made_of_month_ends():
    """With a constant growth nobody stands out, and the year without its latest month is eleven months of it."""
    days = [date(2020 + month // 12, month % 12 + 1, day) for month in range(50) for day in (1, 8, 15, 22)]
    prices = np.array([[1.01 ** (day.year * 12 + day.month)] * 3 for day in days])
    bars = Bars.of(open=prices, high=prices, low=prices, close=prices, volume=prices, days=days)
    found = run([t.momentum_12_1(), t.msci_momentum()], bars)[-1]
    np.testing.assert_allclose(found[0], 1.01**11 - 1)
    np.testing.assert_allclose(found[1], 1.0)
    steep = Bars(bars.fields ** np.array([1.0, 1.1, 1.2]), days)
    ranked = run([parse("rank(msci_momentum(1, 0.05))"), t.msci_momentum()], steep)[-1]
    assert (ranked[1] > 0).all()
    assert ranked[1].tolist() == sorted(ranked[1].tolist()) or len(set(ranked[1])) > 1


def test_a_score_is_above_0_and_keeps_the_order():
    """1 + w and 1 / (1 - w) meet at 1."""
    found = once("score(close - 4)", [1.0, 3, 4, 5, 8])
    np.testing.assert_allclose(found, [0.25, 0.5, 1, 2, 5])


def test_months_have_their_own_lengths():
    """The calendar decides, not a count of days."""
    days = [date(2024, month, calendar.monthrange(2024, month)[1]) for month in range(1, 13)]
    bars = walk(5, 12, 2, days=days)
    np.testing.assert_array_equal(run([t.month_end(t.close, 11)], bars)[-1, 0], bars.fields[0, CLOSE])


def test_flat_prices_have_no_ratio_to_their_volatility():
    """0/0 is unknown, and is ranked nowhere."""
    bars = flat(300, 2)
    assert np.isnan(run([t.roc(t.close, 5) / t.volatility(t.close, 20)], bars)[-1]).all()


@FEW
@given(st.lists(st.tuples(st.integers(1, 6).map(float), st.booleans()), min_size=2, max_size=12), st.integers(1, 4))
def test_who_does_not_count_is_told_where_he_would_stand_and_moves_nobody(symbols, n):
    """Members stand as if they were alone; each other one as if he alone were with them."""
    closes, counts = np.array([close for close, _ in symbols]), np.array([member for _, member in symbols])
    texts = ("rank(close)", "pct(close)", "z(close)", f"top(close, {n})")
    engine = Engine([parse(text) for text in texts], len(closes))
    engine.count(counts)
    engine.step(one_bar(closes))
    found = engine.read().values
    if not counts.any():
        assert np.isnan(found).all()
        return
    alone = np.array([once(text, closes[counts]) for text in texts])
    np.testing.assert_array_equal(found[:, counts], alone)
    for place in np.flatnonzero(~counts):
        better = float((closes[counts] > closes[place]).sum())
        assert found[0, place] == 1 + better
        assert found[1, place] == 100 * (closes[counts] <= closes[place]).sum() / counts.sum()
        assert found[3, place] == (better < n)
        same = np.flatnonzero(closes[counts] == closes[place])
        if same.size:
            assert found[2, place] == pytest.approx(alone[2, same[0]])
    engine.count(None)
    engine.step(one_bar(closes))
    np.testing.assert_array_equal(engine.read().values, [once(text, closes) for text in texts])
